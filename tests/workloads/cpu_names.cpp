// Names that have to be demangled: a template in a namespace, a method, a lambda.
#include <cstdlib>

#include "cpu_clock.h"

namespace coffee {
template <typename Bean> struct Grinder {
	NOINLINE void grind(long long ns)
	{
		auto turn = [](long long part) NOINLINE { spend_ns(part); };
		turn(ns);
		spend_ns(ns);
	}
};
} // namespace coffee

int main(int count, char **arguments)
{
	coffee::Grinder<int>().grind(std::atoi(count > 1 ? arguments[1] : "100") * 1000000LL);
}
