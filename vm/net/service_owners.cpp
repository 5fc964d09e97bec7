// Several data owners: whose examples stand side by side, who is told what was opened of them, and who has left.
#include "net/log.h"
#include "net/service.h"

namespace secfwt {

// Takes notice of owners whose connections have ended: their examples go with them.
void Service::look() {
  for (const std::size_t owner : members_.gone()) {
    log_line(roles_.owners[owner] + " has left");
    forget(owner);
  }
}

void Service::forget(std::size_t owner) {
  for (const u64 set : sets_.of(owner)) engine_.forget_examples(set);
  sets_.forget(owner);
}

// One that shares examples while those of another connection of its are here: whoever is at that one's end is told, and
// the new one was at HELLO.
void Service::begin_anew(std::size_t owner) {
  std::optional<Visitor> former = members_.remove(owner);
  if (!former) return;
  const std::string& name = roles_.owners[owner];
  log_line(name + " shares examples on another connection: those of the connection before are withdrawn");
  doorman_.dismiss(std::move(*former), Complaint::refused,
                   name + " shares examples on another connection: those of this one are withdrawn");
  forget(owner);
}

// Of the room for examples and candidates: as much for each owner as for the candidates of steps, so that no owner
// takes what another needs.
u64 Service::owner_room() const { return room() / (roles_.owners.size() + 1); }

u64 Service::held_words_of(std::size_t owner, std::optional<u64> replaced) const {
  u64 words = 0;
  for (const u64 set : sets_.of(owner))
    if (set != replaced) words += engine_.held_words_of(set);
  return words;
}

void Service::check_sets(const Proposal& step) {
  look();
  const auto& output = engine_.program().outputs[step.output];
  const std::string set = std::to_string(step.argument);
  if (step.owners == 0) {
    const auto own = roles_.owner(client_->name);
    if (!own) throw Refusal("a step on one owner's examples is for that owner, this client is " + client_->name);
    if (output.min_owners)
      throw Refusal("output " + output.name + " is opened of the sum over several owners, never of one owner's own");
    if (members_.here(*own))
      throw Refusal("the examples of " + client_->name + " have joined: they are for sums until it leaves");
    if (!sets_.find(*own, step.argument)) throw Refusal("there is no set of examples " + set);
    return;
  }
  if (client_->name != roles_.coordinator)
    throw Refusal("a step on several owners' examples is for " +
                  (roles_.several() ? roles_.coordinator : "a deployment that names them") + ", this client is " +
                  client_->name);
  if (!output.min_owners)
    throw Refusal("output " + output.name + " is opened to each owner alone, of its own examples");
  if (roles_.owners.size() < 64 && step.owners >> roles_.owners.size() != 0)
    throw Refusal("the deployment names " + std::to_string(roles_.owners.size()) + " owners, a step asks for others");
  u64 others = 0;
  for (std::size_t i = 0; i < roles_.owners.size(); ++i) {
    if (!(step.owners >> i & 1)) continue;
    const std::string& owner = roles_.owners[i];
    if (!members_.here(i)) throw Refusal(owner + " is not here: it has not joined yet, or has left");
    const auto found = sets_.find(i, step.argument);
    if (!found) throw Refusal(owner + " has shared no set " + set);
    const u64 count = engine_.example_count(*found), before = sets_.summed(i, step.argument);
    if (before != 0 && before != count)
      throw Refusal(owner + " has " + std::to_string(count) + " examples in set " + set + ", sums were opened of " +
                    std::to_string(before) + ": the difference would be of few examples alone");
    if (const u64 united = sets_.union_of(i); united != 0 && united != step.owners)
      throw Refusal("the examples of " + owner + " stand in the sum over " + roles_.named(united) +
                    ", and for these weights in no other: the difference would be of few owners alone");
    others += owner != roles_.coordinator;
  }
  if (others < *output.min_owners)
    throw Refusal("output " + output.name + " is opened of the sum over " + std::to_string(*output.min_owners) +
                  " owners at least besides the coordinator, this step has " + std::to_string(others));
}

std::vector<u64> Service::sets_of(const Proposal& step) const {
  if (step.owners == 0) return {*sets_.find(*roles_.owner(client_->name), step.argument)};
  std::vector<u64> sets;
  for (std::size_t i = 0; i < roles_.owners.size(); ++i)
    if (step.owners >> i & 1) sets.push_back(*sets_.find(i, step.argument));
  return sets;
}

u64 Service::examples_of(const Proposal& step) const {
  u64 count = 0;
  for (const u64 set : sets_of(step)) count += engine_.example_count(set);
  return count;
}

// Before anything is opened: whoever is told of a step's end may have been told of what was never opened, and nobody
// the other way round.
void Service::notify(const Proposal& step) {
  if (step.owners == 0) return;
  sets_.unite(step.owners);
  for (std::size_t i = 0; i < roles_.owners.size(); ++i)
    if (step.owners >> i & 1) sets_.sum(i, step.argument, engine_.example_count(*sets_.find(i, step.argument)));
  const u64 words[kNoticeWords] = {step.argument, step.count, examples_of(step), step.owners, opened_[step.output]};
  const auto notice = frame(Frame::notice, step.output, Words(words, words + kNoticeWords));
  members_.tell(step.owners, notice);
}

// What is told is the coordinator's own. A party that was started again knows of no sum.
void Service::check_told(u64 owners) const {
  for (std::size_t i = 0; i < roles_.owners.size(); ++i) {
    if (!(owners >> i & 1)) continue;
    if (!members_.here(i)) throw Refusal(roles_.owners[i] + " is not here: it has left");
    if (const u64 united = sets_.union_of(i); united != 0 && united != owners)
      throw Refusal("TELL is for the owners of a sum that was opened: " + roles_.owners[i] + " is in another");
  }
}

// Each owner gets all three components, one from each party, which knows no more than that and the next.
void Service::pass_on(u64 owners) {
  members_.tell(owners, frame(Frame::tell, 0, payload_.x0));
  payload_ = {};
}

// For the coordinator of every owner that is here, for an owner of itself: how many examples it has in sets 0 and 1,
// train and dev.
Words Service::owner_words() const {
  Words words;
  if (!roles_.several()) return words;
  for (std::size_t i = 0; i < roles_.owners.size(); ++i)
    for (u64 set = 0; set < kOwnerWords; ++set) {
      if (client_->name != roles_.coordinator && client_->name != roles_.owners[i]) break;
      const auto number = sets_.find(i, set);
      words.push_back(members_.here(i) && number ? engine_.example_count(*number) : 0);
    }
  return words;
}

// The session is over, its connection and its examples are not.
void Service::stay() {
  const std::size_t owner = *roles_.owner(client_->name);
  log_line(client_->name + " has joined");
  members_.add(owner, std::move(*client_));
  client_.reset();
  doorman_.open();
}

void Service::send_away(Complaint complaint, const std::string& text) {
  for (Visitor& member : members_.remove_all()) doorman_.dismiss(std::move(member), complaint, text);
}

}  // namespace secfwt
