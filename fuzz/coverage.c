/* GCC marks the ways through C code with calls, libFuzzer looks at counters: a counter for every place that calls. */
#include <stdint.h>

__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t counters[1 << 16];

void __sanitizer_cov_trace_pc(void) {
  /* Counted from here, so that it is the same in every process. */
  uint64_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc;
  counters[(place * 0x9e3779b97f4a7c15u) >> 48]++;
}
