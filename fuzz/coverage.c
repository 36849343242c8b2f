/* GCC instruments C code with calls (renamed in `cc`); libFuzzer reads counters. Each call site has a counter. */
#include <stdint.h>

__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t counters[1 << 16];

void count_call_site(void) {
  /* Relative to this function, so that it is the same in every process. */
  uint64_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&count_call_site;
  counters[(place * 0x9e3779b97f4a7c15u) >> 48]++;
}
