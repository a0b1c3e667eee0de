/* places.h - RoPE positions of a prompt whose picture lost tokens
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Positions are either closed up, 0, 1, 2 ... over what is left, as HiRED's
 * authors have it, or those of the whole prompt: what is left stands where it
 * would if nothing had been dropped, and the text behind the picture begins
 * where it would. Then distances between patches mean what they meant in
 * training (Chien et al., "Grounding-Aware Token Pruning", 2025). Keys lie one
 * after another in the cache either way; masks and windows count what is there.
 */
#pragma once

#include "engine/vision.h"

G_BEGIN_DECLS

typedef struct {
  Device *dev;
  const VlmConfig *config;
  int *table; /* host, [max_tiles*(N+1)+1] */
  int *host;  /* [context] */
  int *pos;   /* device [context]: of the prompt last settled */
} VlmPlaces;

/* Device bytes of vlm_places_init. */
guint64 vlm_places_bytes (int context);

/* For prompts of up to `context` tokens and pictures of up to max_tiles. The
 * configuration must outlive it. */
void vlm_places_init (VlmPlaces *places, Device *dev, const VlmConfig *config,
    int context, int max_tiles);
void vlm_places_clear (VlmPlaces *places);

/* Fills pos for `before` tokens, the image rows of the encoder's last run and
 * `after` tokens, all standing where they do in the whole prompt. Returns how
 * many positions those to come are ahead of their places in the cache. */
int vlm_places_settle (VlmPlaces *places, VlmVision *vision,
    const VlmSelection *selection, const VlmTileGeometry *geometry, int before,
    int after);

G_END_DECLS
