// Several data owners at one party: whose sets there are, who stays, and sets of several as one.
#include <chrono>
#include <thread>

#include "check.h"
#include "mpc/example_sets.h"
#include "net/members.h"
#include "net/owned_sets.h"
#include "tls_pair.h"

using namespace secfwt;
using namespace secfwt::test;
using namespace std::chrono_literals;

TEST(a_set_is_its_owner_s) {
  OwnedSets sets;
  const u64 first = sets.number(0, 7), second = sets.number(1, 7), third = sets.number(1, 8);
  CHECK(first != second && second != third && first != third);
  CHECK_EQ(sets.number(1, 7), second);  // another of the same name takes its place
  CHECK(sets.find(0, 7) == first);
  CHECK(!sets.find(0, 8));
  CHECK(!sets.find(2, 7));
  CHECK(sets.of(1) == (std::vector<u64>{second, third}));
  sets.forget(1);
  CHECK(sets.of(1).empty());
  CHECK(!sets.find(1, 7));
  CHECK(sets.find(0, 7) == first);
  CHECK(sets.number(1, 7) > third);  // no number serves twice
}

TEST(a_union_outlives_its_sets_and_ends_with_the_weights) {
  OwnedSets sets;
  sets.number(0, 0);
  CHECK_EQ(sets.union_of(0), u64{0});
  sets.unite(0b101);
  sets.sum(2, 1, 30);
  sets.forget(2);
  CHECK_EQ(sets.union_of(0), u64{0b101});
  CHECK_EQ(sets.union_of(1), u64{0});
  CHECK_EQ(sets.union_of(2), u64{0b101});
  CHECK_EQ(sets.summed(2, 1), u64{30});
  CHECK_EQ(sets.summed(2, 0), u64{0});
  CHECK_EQ(sets.summed(0, 1), u64{0});
  sets.clear();
  CHECK_EQ(sets.union_of(0), u64{0});
  CHECK_EQ(sets.summed(2, 1), u64{0});
}

namespace {

// Party 0's connections to owners, and the owners' ends.
struct Owners {
  explicit Owners(std::size_t count) {
    const TlsContext party = identity(certificates(), "party0", party_name(0));
    const TlsContext owner = identity(certificates(), "data-owner", kDataOwner);
    for (std::size_t i = 0; i < count; ++i) {
      auto pair = connected(party, owner, party_name(0));
      members.add(i, Visitor{std::move(*pair[0]), "owner " + std::to_string(i), i});
      ends.push_back(std::move(pair[1]));
    }
  }

  Members members;
  std::vector<std::unique_ptr<TlsStream>> ends;
};

}  // namespace

TEST(silent_owners_have_one_second_between_them) {
  constexpr std::size_t kSilent = 4;
  Owners owners(kSilent + 2);
  const std::vector<u8> frame(1 << 20, 1);  // more than the sockets take
  std::size_t taken = 0;
  std::thread reader([&] {
    std::vector<u8> bytes(1 << 16);
    TlsStream& stream = *owners.ends[kSilent];
    for (const auto deadline = Clock::now() + 20s; taken < frame.size() && Clock::now() < deadline;) {
      const std::size_t got = stream.read(bytes.data(), bytes.size());
      pollfd fd{stream.fd(), stream.poll_events(), 0};
      if (got == 0) poll_until(&fd, 1, deadline);
      taken += got;
    }
  });
  const auto began = Clock::now();
  owners.members.tell(0b011111, frame);  // all but the last
  const auto took = Clock::now() - began;
  reader.join();
  CHECK(took >= 900ms);
  CHECK(took < 3500ms);  // not a second each
  CHECK_EQ(taken, frame.size());
  CHECK(owners.members.here(kSilent));
  CHECK(owners.members.here(kSilent + 1));
  CHECK(owners.members.gone() == (std::vector<std::size_t>{0, 1, 2, 3}));
  CHECK(owners.members.gone().empty());  // said once
  CHECK(!owners.members.here(0));
}

TEST(owners_that_hang_up_or_speak_are_gone) {
  Owners owners(4);
  CHECK(owners.members.gone().empty());
  owners.ends[1]->finish();
  owners.ends[3]->write("x", 1);
  CHECK(owners.members.gone() == (std::vector<std::size_t>{1, 3}));
  CHECK(owners.members.remove(0).has_value());
  CHECK(!owners.members.remove(0));
  CHECK_EQ(owners.members.remove_all().size(), std::size_t{1});
  owners.members.tell(~u64{0}, {1});  // nobody is there
  CHECK(owners.members.gone().empty());
}

TEST(sets_side_by_side_are_cut_as_one) {
  const Program program = parse_program(
      "secfwt-program 4\n"
      "v 0 example rep 8 3 example - name=x ring=13\n"
      "v 1 candidate rep 8 3 candidate - name=z ring=13\n"
      "v 2 pair rep 8 3 add 0,1\n"
      "v 3 candidate rep 8 3 reduce_examples 2\n"
      "out total 3 ring=13\n"
      "end\n");
  const std::vector<std::size_t> counts{2, 1, 3};
  std::vector<ExampleSet> sets;
  const std::vector<bool> keep{true, false, false, false};
  u64 next = 0;
  for (const std::size_t count : counts) {
    ExampleSet& set = sets.emplace_back(program, keep, count);
    const Value value = make_value(Sharing::rep, 1, count, {3});
    for (std::size_t i = 0; i < value.words(); ++i, ++next) {
      value.x[0][i] = next - (u64{1} << 20);  // what stands above its ring is not kept
      value.x[1][i] = 100 + next;
    }
    set.put(0, value.slice(0, 1, count - 1, count), count - 1);
    set.put(0, value, 0);
  }
  const SideBySide all({&sets[0], &sets[1], &sets[2]});
  CHECK_EQ(all.count(), std::size_t{6});
  CHECK_EQ(all.sets(), std::size_t{3});
  CHECK(sets[0].has(0) && !sets[0].has(1));
  for (std::size_t from = 0; from < 6; ++from)
    for (std::size_t to = from + 1; to <= 6; ++to) {
      const Value part = all.slice(0, from, to);
      CHECK_EQ(part.examples, to - from);
      for (std::size_t i = 0; i < part.words(); ++i) {
        CHECK_EQ(part.x[0][i], 3 * from + i);
        CHECK_EQ(part.x[1][i], 100 + 3 * from + i);
      }
    }
  CHECK_EQ(kept_words(program.values[0]), u64{2});  // 39 bits of either component
}
