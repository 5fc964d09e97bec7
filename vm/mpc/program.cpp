// Syntax of ring programs.
#include "mpc/program.h"

#include <algorithm>
#include <sstream>

#include "mpc/program_fit.h"
#include "mpc/program_limits.h"
#include "mpc/program_line.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

Shape parse_shape(const Line& line, const std::string& text) {
  Shape shape;
  double elements = 1;
  for (const std::string& dim : split(text, 'x')) {
    shape.push_back(static_cast<std::size_t>(line.integer(dim, "a dimension of shape " + text, {1, kMaxElements})));
    elements *= static_cast<double>(shape.back());
  }
  if (elements > static_cast<double>(kMaxElements)) line.fail("shape " + text + " has more than 2^40 elements");
  return shape;
}

// The bytes that a key gives in hexadecimal.
template <class Array>
Array parse_bytes(Line& line, const char* key) {
  Array bytes;
  const std::string text = line.key(key);
  if (text.size() != 2 * bytes.size() || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    line.fail(std::string(key) + " is '" + text + "', must be " + std::to_string(2 * bytes.size()) +
              " lower-case hexadecimal digits");
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<u8>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  return bytes;
}

void parse_attributes(Line& line, Node& node, const Program& before) {
  const i64 fits = static_cast<i64>(before.fits.size());
  const i64 rank = node.inputs.empty() ? 1 : static_cast<i64>(before.values[node.inputs[0]].shape.size());
  const auto optional = [&](const char* key, Range range, int otherwise) {
    return line.has(key) ? static_cast<int>(line.integer_key(key, range)) : otherwise;
  };
  const auto axis = [&] { return static_cast<std::size_t>(-line.integer_key("axis", {-rank, -1})); };
  switch (node.kind) {
    case Kind::weight:
    case Kind::example:
    case Kind::candidate:
    case Kind::state:
    case Kind::kept:
      node.name = line.key("name");
      break;
    case Kind::public_:
      node.name = line.key("name");
      node.seed = parse_bytes<Key>(line, "seed");
      node.bits = static_cast<int>(line.integer_key("bits", kPublicBits));
      break;
    case Kind::table:
      node.name = line.key("name");
      for (const std::string& part : split(line.key("numbers"), ','))
        node.numbers.push_back(line.integer(part, "number", kTableNumber));
      if (node.numbers.size() != volume(node.shape))
        line.fail(std::to_string(node.numbers.size()) + " numbers found, its shape has " +
                  std::to_string(volume(node.shape)));
      break;
    case Kind::constant:
      node.name = line.key("name");
      node.bytes = static_cast<int>(line.integer_key("bytes", kNumberBytes));
      node.hash = parse_bytes<Hash>(line, "sha256");
      break;
    case Kind::scale:
      node.by = line.integer_key("by", kAnyInteger);
      break;
    case Kind::sum:
    case Kind::concat:
      node.axis = axis();
      break;
    case Kind::slice:
      node.axis = axis();
      node.lo = static_cast<std::size_t>(line.integer_key("lo", {0, kMaxElements}));
      node.hi = static_cast<std::size_t>(line.integer_key("hi", {0, kMaxElements}));
      break;
    case Kind::window:
      node.rows = static_cast<std::size_t>(line.integer_key("rows", {1, kMaxElements}));
      break;
    case Kind::permute:
      for (const std::string& part : split(line.key("axes"), ','))
        node.axes.push_back(static_cast<std::size_t>(line.integer(part, "axis", {0, rank - 1})));
      break;
    case Kind::trunc:
      node.shift = static_cast<int>(line.integer_key("shift", kShift));
      node.opened = line.has("rounds") && line.integer_key("rounds", kFewRounds) > 0;
      break;
    case Kind::fourier:
      if (fits == 0) line.fail("no fit is defined before this line");
      node.fit = static_cast<std::size_t>(line.integer_key("fit", {0, fits - 1}));
      node.shift = optional("shift", kSeriesShift, 0);
      break;
    case Kind::cos_sin:
      parse_precision(line, node.precision);
      node.precision.harmonics = {{1, 1.0, 0.0}};
      node.precision.ring = optional("sum", kRingBits, kWord);
      node.shift = optional("shift", kSeriesShift, 0);
      break;
    default:
      break;
  }
  derive_ring(before, node);
  if (is_shared_input(node.kind)) node.ring = optional("ring", kInputRingBits, kWord);
  if (!communicates(node.kind)) return;
  node.ring = optional("ring", kRingBits, kWord);
  node.group = static_cast<u64>(line.integer_key("group", kCount));
}

Node parse_value(Line& line, const Program& before) {
  const i64 id = static_cast<i64>(before.values.size());
  if (line.integer(line.take("a value's number"), "value", kCount) != id)
    line.fail("values are numbered in file order, " + std::to_string(id) + " expected");
  Node node{};
  node.line = line.number();
  node.stage = line.one_of(line.take("a stage"), "stage", kStages);
  node.sharing = line.one_of(line.take("a sharing"), "sharing", kSharings);
  node.scale = static_cast<int>(line.integer(line.take("a scale"), "scale", kScale));
  node.shape = parse_shape(line, line.take("a shape"));
  node.kind = line.one_of(line.take("a kind"), "kind", kOperations);
  const std::string& inputs = line.take("input values or -");
  if (inputs != "-")
    for (const std::string& input : split(inputs, ','))
      node.inputs.push_back(static_cast<std::size_t>(line.integer(input, "input value", {0, id - 1})));
  node.reduced = node.kind == Kind::reduce_examples;
  for (std::size_t input : node.inputs) node.reduced |= before.values[input].reduced;
  line.take_keys();
  parse_attributes(line, node, before);
  line.finish();
  check_value(before, node);
  return node;
}

Output parse_output(Line& line, const Program& program) {
  Output output;
  output.name = line.take("an output's name");
  for (const Output& other : program.outputs)
    if (other.name == output.name) line.fail("output '" + output.name + "' is defined twice");
  const i64 last = static_cast<i64>(program.values.size()) - 1;
  output.value = static_cast<std::size_t>(line.integer(line.take("a value's number"), "value", {0, last}));
  const Stage stage = program.values[output.value].stage;
  if (stage == Stage::setup)
    line.fail("value " + std::to_string(output.value) + " has stage setup, an output must have another");
  line.take_keys();
  const i64 ring = line.has("ring") ? line.integer_key("ring", kRingBits) : kWord;
  if (const int whole = program.values[output.value].ring; ring != whole)
    line.fail("output " + output.name + " is opened in a ring of " + std::to_string(ring) + " bits, value " +
              std::to_string(output.value) + " has one of " + std::to_string(whole));
  if (line.has("max_candidates"))
    output.max_candidates = static_cast<std::size_t>(line.integer_key("max_candidates", {1, kMaxElements}));
  if (line.has("max_opened"))
    output.max_opened = static_cast<std::size_t>(line.integer_key("max_opened", {1, kMaxElements}));
  if (line.has("noise")) {
    output.noise = static_cast<u64>(line.integer_key("noise", kNoise));
    if (kNoiseReach * *output.noise >> (ring - 2) != 0)
      line.fail("noise is " + std::to_string(*output.noise) + ": what three parties add reaches " +
                std::to_string(kNoiseReach) + " times that, which must be below 2^" + std::to_string(ring - 2) +
                " in a ring of " + std::to_string(ring) + " bits");
  }
  if (line.has("min_owners")) output.min_owners = static_cast<std::size_t>(line.integer_key("min_owners", kOwners));
  if (line.has("keep")) output.keep = static_cast<std::size_t>(line.integer_key("keep", {0, last}));
  line.finish();
  return output;
}

}  // namespace

bool Program::sums_owners() const {
  return std::any_of(outputs.begin(), outputs.end(),
                     [](const Output& output) { return output.min_owners.has_value(); });
}

std::size_t Program::words(Kind input) const {
  std::size_t n = 0;
  for (const Node& node : values)
    if (node.kind == input) n += volume(node.shape);
  return n;
}

std::size_t Program::last_place(const Output& output) const {
  if (output.keep) return 1;
  std::optional<std::size_t> last;
  for (const Node& node : values) {
    if (node.kind != Kind::window && node.kind != Kind::append) continue;
    const std::size_t rows = node.kind == Kind::window ? node.rows : values[node.inputs[1]].shape[0];
    const std::size_t room = values[node.inputs[0]].shape[0] - rows;
    last = std::min(last.value_or(room), room);
  }
  return last.value_or(0);
}

std::size_t Program::packed_bytes(Kind input, std::size_t count) const {
  std::size_t bytes = 0;
  for (const Node& node : values)
    if (node.kind == input) bytes += secfwt::packed_bytes(count * volume(node.shape), node.ring);
  return bytes;
}

// Every precision of cos_sin becomes a fit, once.
void add_precisions(Program& program) {
  const auto first = static_cast<std::ptrdiff_t>(program.fits.size());
  for (Node& node : program.values) {
    if (node.kind != Kind::cos_sin) continue;
    const Fit& wanted = node.precision;
    const auto found = std::find_if(program.fits.begin() + first, program.fits.end(), [&](const Fit& fit) {
      return fit.k == wanted.k && fit.fc == wanted.fc && fit.fa == wanted.fa && fit.ring == wanted.ring;
    });
    node.fit = static_cast<std::size_t>(found - program.fits.begin());
    if (found == program.fits.end()) program.fits.push_back(wanted);
  }
}

// Everyone who reads a program must see the same lines: another byte may be a line's end to one and none to another.
void check_bytes(const std::string& text) {
  std::size_t number = 1;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '\n')
      ++number;
    else if (byte < 0x20 || byte > 0x7e)
      Line(number, "").fail("byte " + std::to_string(byte) + " found, a program is printable ASCII (32 to 126) and LF");
  }
}

Program parse_program(const std::string& text) {
  check_bytes(text);
  Program program;
  std::istringstream in(text);
  std::string raw;
  std::size_t number = 0;
  bool header = false, ended = false;
  while (std::getline(in, raw)) {
    ++number;
    raw.erase(std::min(raw.find('#'), raw.size()));
    raw.erase(raw.find_last_not_of(' ') + 1);
    if (raw.empty()) continue;
    Line line(number, raw);
    if (ended) line.fail("'" + raw + "' found after end");
    const std::string word = line.take("a word");
    if (!header) {
      if (raw != kFirstLine) line.fail("'" + raw + "' found, '" + kFirstLine + "' expected");
      header = true;
    } else if (word == "fit") {
      const i64 id = static_cast<i64>(program.fits.size());
      if (line.integer(line.take("a fit's number"), "fit", kCount) != id)
        line.fail("fits are numbered in file order, " + std::to_string(id) + " expected");
      line.take_keys();
      program.fits.push_back(parse_fit(line));
      line.finish();
    } else if (word == "v") {
      program.values.push_back(parse_value(line, program));
    } else if (word == "out") {
      program.outputs.push_back(parse_output(line, program));
    } else if (word == "end") {
      line.finish();
      ended = true;
    } else {
      line.fail("'" + word + "' found, fit, v, out or end expected");
    }
  }
  const Line last(number + 1, "");
  if (!ended) last.fail("the file ends where a line 'end' is expected");
  if (program.outputs.empty()) last.fail("the program has no output: a line 'out <name> <value>' is expected");
  check_groups(program);
  check_states(program);
  check_kept(program);
  check_owners(program);
  add_precisions(program);
  return program;
}

}  // namespace secfwt
