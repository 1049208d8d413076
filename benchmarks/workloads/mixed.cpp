// The load's C++ service: templates, virtual calls and lambdas, so that its symbols are mangled and its stacks deep.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shop {

struct Rule {
  virtual ~Rule() = default;
  virtual std::uint64_t price(std::uint64_t cents) const = 0;
};

template <int Percent>
struct Discount final : Rule {
  std::uint64_t price(std::uint64_t cents) const override { return cents * (100 - Percent) / 100 + Percent; }
};

using Rules = std::vector<std::unique_ptr<Rule>>;

template <typename Key>
class Index {
 public:
  void add(const Key& key, std::uint64_t value) { values_[key] += value; }
  std::uint64_t heaviest() const {
    auto found = std::max_element(values_.begin(), values_.end(),
                                  [](const auto& a, const auto& b) { return a.second < b.second; });
    return found == values_.end() ? 0 : found->second;
  }

 private:
  std::map<Key, std::uint64_t> values_;
};

std::uint64_t sort_orders(std::vector<std::uint64_t>& orders) {
  std::sort(orders.begin(), orders.end(), std::greater<>());
  return orders.front();
}

std::uint64_t serve(const Rules& rules, std::uint64_t seed) {
  Index<std::string> index;
  std::vector<std::uint64_t> orders;
  for (int order = 0; order < 200; order++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    std::uint64_t cents = seed >> 44;
    for (const auto& rule : rules) cents = rule->price(cents);
    index.add("customer-" + std::to_string(cents % 97), cents);
    orders.push_back(cents);
  }
  return sort_orders(orders) + index.heaviest();
}

}  // namespace shop

int main(int, char** words) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(words[1] ? std::atoi(words[1]) : 0);
  shop::Rules rules;
  rules.push_back(std::make_unique<shop::Discount<5>>());
  rules.push_back(std::make_unique<shop::Discount<17>>());
  std::uint64_t seed = 23;
  while (std::chrono::steady_clock::now() < end) seed = shop::serve(rules, seed);
  return seed == 0;
}
