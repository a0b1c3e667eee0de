/* loader.h - loading on the worker: who joins, who leaves, who is told
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A load goes on while somebody wants it: a joiner that has not left, or a
 * request that waits. Private to engine/.
 */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct {
  GArray *joiners; /* VlmJoiner, by id */
  guint last_id;
  guint calling; /* id whose func runs now, 0 = none */
  int percent;   /* of the load under way */
} VlmLoader;

void vlm_loader_init (VlmLoader *loader);
void vlm_loader_clear (VlmLoader *loader);

/* With the lock held, on the worker: loads if that is wanted, or tells those
 * who joined late. TRUE if it did something; the lock is given up meanwhile.
 */
gboolean vlm_loader_turn (VlmEngine *engine);

G_END_DECLS
