/* places.c - RoPE positions of a prompt whose picture lost tokens
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/places.h"

guint64
vlm_places_bytes (int context)
{
  return (guint64) context * sizeof (int);
}

void
vlm_places_init (VlmPlaces *places, Device *dev, const VlmConfig *config,
    int context, int max_tiles)
{
  *places = (VlmPlaces){ .dev = dev, .config = config };
  places->table = g_new (int, max_tiles *(config->vision.n_patches + 1) + 1);
  places->host = g_new (int, context);
  places->pos = device_alloc (dev, vlm_places_bytes (context));
}

void
vlm_places_clear (VlmPlaces *places)
{
  if (!places->dev)
    return;
  g_free (places->table);
  g_free (places->host);
  device_free (places->dev, places->pos);
  *places = (VlmPlaces){ 0 };
}

/* n positions from `value` on, for the tokens from `at` on. */
static void
count_up (VlmPlaces *places, int at, int n, int value)
{
  for (int i = 0; i < n; i++)
    places->host[i] = value + i;
  device_upload (places->dev, places->pos + at, places->host, n * sizeof (int));
}

/* The image rows, as the host knows them. */
static int
place_known (VlmPlaces *places, const VlmSelection *selection,
    const VlmTileGeometry *g, int before)
{
  int N = g->side * g->side, P = vlm_tile_count (g), n = 0, line = 0;

  if (places->config->keep_class_token)
    places->host[n++] = places->table[P * N];
  for (int i = 0; i < selection->n; i++) {
    int id = selection->order[i];
    int at = places->table[id < 0 ? P * (N + 1) : id];

    places->host[n++] = at;
    if (line == selection->n_lines || selection->lines[line] != i)
      continue;
    places->host[n++] = vlm_tile_line_end (g, places->config, before, at);
    line++;
  }
  device_upload (
      places->dev, places->pos + before, places->host, n * sizeof (int));
  return n;
}

int
vlm_places_settle (VlmPlaces *places, VlmVision *vision,
    const VlmSelection *selection, const VlmTileGeometry *geometry, int before,
    int after)
{
  int whole = vlm_tile_image_tokens (geometry, places->config);
  int rows;

  vlm_tile_places (geometry, places->config, before, places->table);
  rows = vlm_vision_place (vision, places->table, places->pos + before);
  if (!rows)
    rows = place_known (places, selection, geometry, before);
  count_up (places, 0, before, 0);
  count_up (places, before + rows, after, before + whole);
  return whole - rows;
}
