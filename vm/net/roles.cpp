#include "net/roles.h"

#include <algorithm>

namespace secfwt {

std::vector<std::string> Roles::clients() const {
  std::vector<std::string> names{kModelOwner};
  names.insert(names.end(), owners.begin(), owners.end());
  if (several() && !owner(coordinator)) names.push_back(coordinator);
  return names;
}

u64 Roles::number(const std::string& client) const {
  const auto names = clients();
  return static_cast<u64>(std::find(names.begin(), names.end(), client) - names.begin());
}

std::optional<std::size_t> Roles::owner(const std::string& name) const {
  const auto found = std::find(owners.begin(), owners.end(), name);
  if (found == owners.end()) return {};
  return static_cast<std::size_t>(found - owners.begin());
}

std::string Roles::named(u64 some) const {
  std::string text;
  for (std::size_t i = 0; i < owners.size(); ++i)
    if (some >> i & 1) text += (text.empty() ? "" : ", ") + owners[i];
  return text;
}

Hash Roles::known(const Hash& program) const {
  if (!several()) return program;
  std::string text(program.begin(), program.end());
  for (const std::string& owner : owners) text += owner + ",";
  return hash_of(text + coordinator);
}

}  // namespace secfwt
