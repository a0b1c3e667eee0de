/* fiber.h - stacks to switch between, one per thread of a block that waits
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sanitizers are told of every change.
 */
#pragma once

#include <stddef.h>

struct Fiber;

/* A fiber that calls `body`, which never returns, when it is first changed
 * to. Never freed. */
Fiber *fiber_new (void (*body) ());

/* From the running fiber, or the host thread, to another one; NULL is the
 * host thread. Returns when somebody changes back. */
void fiber_change (Fiber *to);
