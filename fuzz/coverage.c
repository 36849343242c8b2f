/* GCC marks the ways through C code with calls (renamed in `cc`), libFuzzer looks at counters: one for every place that calls. */
#include <stdint.h>

__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t counters[1 << 16];

void count_this_place(void) {
  /* Counted from here, so that it is the same in every process. */
  uint64_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&count_this_place;
  counters[(place * 0x9e3779b97f4a7c15u) >> 48]++;
}
