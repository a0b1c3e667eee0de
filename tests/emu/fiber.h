/* fiber.h - stacks to switch between, one per thread of a block
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A fiber runs the same function again and again, from one fiber_leave to the
 * next. Sanitizers are told of every change.
 */
#pragma once

#include <stddef.h>

struct Fiber;

/* A fiber that calls `body` for ever; body calls fiber_leave. Never freed. */
Fiber *fiber_new (void (*body) ());

/* From the host thread into the fiber, until it leaves. */
void fiber_enter (Fiber *fiber);

/* From the running fiber back to whoever entered it. */
void fiber_leave ();
