/* registry.h - the engines of this process, by what they were opened with
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Private to engine/. Counts references: those of applications (sharers) and
 * those of streams. The last one frees the engine.
 */
#pragma once

#include "engine/scheduler.h"

G_BEGIN_DECLS

/* The shared engine whose runner has this key, with one more reference, or
 * NULL. */
VlmEngine *vlm_registry_find (const char *key);

/* Gives a new engine its first reference; `share` lets find see it. If an
 * equal one was added meanwhile, `engine` is freed and that one returned. */
VlmEngine *vlm_registry_add (VlmEngine *engine, gboolean share);

void vlm_registry_ref (VlmEngine *engine, gboolean sharer);
void vlm_registry_unref (VlmEngine *engine, gboolean sharer);
int vlm_registry_sharers (VlmEngine *engine);

G_END_DECLS
