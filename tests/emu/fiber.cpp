/* fiber.cpp - stacks to switch between, one per thread of a block
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ucontext would make a system call at each switch, so x86-64 has a switch of
 * its own.
 */
#include "tests/emu/fiber.h"

#include "tests/emu/emu.h"

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#else
static void
__sanitizer_start_switch_fiber (void **, const void *, size_t)
{
}

static void
__sanitizer_finish_switch_fiber (void *, const void **, size_t *)
{
}
#endif

#define PAGE 4096
#define STACK_BYTES (128 * 1024)

#ifdef __x86_64__
typedef void *Context;

/* Saves what a call must preserve on the old stack, restores it from the
 * new. */
extern "C" void emu_switch (Context *from, Context to);
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch, @function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch, . - emu_switch
)");

/* Six registers, where to return to, and the place of a return address that
 * the body never uses. */
static void
make (Context *context, char *stack, void (*body) ())
{
  void **top = (void **) (stack + STACK_BYTES) - 2;
  top[0] = (void *) body;
  top[1] = NULL;
  *context = top - 6;
}

static void
change (Context *from, Context *to)
{
  emu_switch (from, *to);
}
#else
typedef ucontext_t Context;

static void
make (Context *context, char *stack, void (*body) ())
{
  getcontext (context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = STACK_BYTES;
  context->uc_link = NULL;
  makecontext (context, body, 0);
}

static void
change (Context *from, Context *to)
{
  swapcontext (from, to);
}
#endif

struct Fiber {
  Context context;
  char *stack;
  void *asan;
  void (*body) ();
};

static Fiber *running;
static Context outside;
static void *outside_asan;
static const void *outside_stack;
static size_t outside_bytes;

static void
run ()
{
  __sanitizer_finish_switch_fiber (NULL, &outside_stack, &outside_bytes);
  for (;;)
    running->body ();
}

Fiber *
fiber_new (void (*body) ())
{
  char *memory =
      (char *) mmap (NULL, PAGE + STACK_BYTES, PROT_READ | PROT_WRITE,
          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect (memory, PAGE, PROT_NONE))
    emu_die ("no memory for a thread's stack");
  Fiber *fiber = new Fiber{};
  fiber->stack = memory + PAGE;
  fiber->body = body;
  make (&fiber->context, fiber->stack, run);
  return fiber;
}

void
fiber_enter (Fiber *fiber)
{
  running = fiber;
  __sanitizer_start_switch_fiber (&outside_asan, fiber->stack, STACK_BYTES);
  change (&outside, &fiber->context);
  __sanitizer_finish_switch_fiber (outside_asan, NULL, NULL);
}

void
fiber_leave ()
{
  Fiber *fiber = running;
  __sanitizer_start_switch_fiber (&fiber->asan, outside_stack, outside_bytes);
  change (&fiber->context, &outside);
  __sanitizer_finish_switch_fiber (fiber->asan, &outside_stack, &outside_bytes);
}
