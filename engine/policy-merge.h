/* policy-merge.h - a selection of merged rows, written one after another
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

G_BEGIN_DECLS

/* Begins a selection of sums; each row is begun, then its entries added. */
static inline void
vlm_merge_init (VlmSelection *selection)
{
  selection->n = 0;
  selection->merged = TRUE;
  selection->packed = FALSE;
  selection->start[0] = 0;
}

/* A row in the place of token `id`, -1 for none; zeros as yet. */
static inline void
vlm_merge_row (VlmSelection *selection, int id)
{
  selection->order[selection->n++] = id;
  selection->start[selection->n] = selection->start[selection->n - 1];
}

/* Adds weight times a token to the last row. */
static inline void
vlm_merge_add (VlmSelection *selection, int id, float weight)
{
  int e = selection->start[selection->n]++;

  selection->source[e] = id;
  selection->weight[e] = weight;
}

/* A row that is just this token. */
static inline void
vlm_merge_token (VlmSelection *selection, int id)
{
  vlm_merge_row (selection, id);
  vlm_merge_add (selection, id, 1);
}

G_END_DECLS
