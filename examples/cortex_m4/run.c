/* Runs policy.c on a bare Cortex-M4: answers `observations`, prints every action as hexadecimal
   words, then the ticks of the processor's timer that the actions took. Start-up code of its own,
   text by semihosting: an emulator needs no library for it. */
#include "policy.h"

extern const float observations[];
extern const int count;
extern unsigned stack_top;

#define REGISTER(address) (*(volatile unsigned *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010)
#define SYSTICK_RELOAD REGISTER(0xe000e014)
#define SYSTICK_VALUE REGISTER(0xe000e018)

static unsigned call(unsigned number, const void *argument) {
  register unsigned r0 __asm__("r0") = number;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void write_hex(unsigned value) {
  char text[10];
  int i;
  for (i = 0; i < 8; ++i) { text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15]; }
  text[8] = '\n';
  text[9] = 0;
  call(4, text);
}

void reset(void) {
  unsigned ticks = 0, before;
  int i, j;
  /* The floating-point unit is off after a reset. */
  REGISTER(0xe000ed88) |= 0xf << 20;
  __asm__ volatile("dsb\nisb");
  SYSTICK_RELOAD = 0xffffff;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 5; /* by the processor's clock, downwards */
  for (i = 0; i < count; ++i) {
    union { float value[POLICY_ACTIONS]; unsigned bits[POLICY_ACTIONS]; } action;
    before = SYSTICK_VALUE;
    policy_act(observations + i * POLICY_OBSERVATIONS, action.value);
    ticks += (before - SYSTICK_VALUE) & 0xffffff;
    for (j = 0; j < POLICY_ACTIONS; ++j) { write_hex(action.bits[j]); }
  }
  write_hex(ticks);
  call(0x18, (void *)0x20026); /* end with success */
  for (;;) { }
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
  &stack_top, (void *)reset};
