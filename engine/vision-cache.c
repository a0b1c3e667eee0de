/* vision-cache.c - encoder states of tiles that did not change
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Kept is the input of the last layer, not its output: which rows that layer
 * finishes depends on the selection, which depends on the other tiles. The
 * last layer is computed anew, so nothing changes but the time.
 */
#include "engine/vision-private.h"

#include <string.h>

struct VlmTileCache {
  VlmVision *vision;
  const float *lut; /* that the states were made with */
  guint8 *pixels;   /* device [P,T,T,3] of the last picture */
  int *changed;     /* device [P] since the picture before */
  int *answer;      /* of device_host_alloc: the same, once it is here, ... */
  int n_asked;      /* ... of so many tiles that the host has not heard of */
  gboolean same;    /* all tiles as in the picture before */
  gboolean *known;  /* [P] with its states */
  Residual *state;  /* device [P,1+saved,N+1,C] */
};

static gsize
tile_bytes (const VlmVisionConfig *c)
{
  return (gsize) 3 * c->image_size * c->image_size;
}

static gsize
state_values (const VlmVisionConfig *c)
{
  return (gsize) (c->n_patches + 1) * c->width;
}

/* Hidden states of a tile: the last layer's input and the saved ones. */
static int
n_states (const VlmVision *v)
{
  int n = 1;

  for (int i = 0; i < v->n_feature_layers; i++)
    n += v->saved[i] != NULL;
  return n;
}

guint64
vlm_tile_cache_bytes (const Device *dev, const VlmModel *model, int max_tiles)
{
  const VlmConfig *config = &model->config;

  return max_tiles *
         (((guint64) config->n_feature_layers + 1) *
                 state_values (&config->vision) * sizeof (Residual) +
             tile_bytes (&config->vision) + sizeof (int));
}

VlmTileCache *
vlm_tile_cache_new (VlmVision *v)
{
  gsize values = v->max_tiles * n_states (v) * state_values (&v->config);
  gsize states = values * sizeof (Residual);
  gsize pixels = v->max_tiles * tile_bytes (&v->config);
  gsize ints = v->max_tiles * sizeof (int);
  VlmTileCache *cache;

  if (states + pixels + ints > device_memory_free (v->dev))
    return NULL;
  cache = g_new0 (VlmTileCache, 1);
  cache->vision = v;
  cache->state = device_alloc (v->dev, states);
  cache->pixels = device_alloc (v->dev, pixels);
  cache->changed = device_alloc (v->dev, ints);
  cache->answer = device_host_alloc (v->dev, ints);
  cache->known = g_new0 (gboolean, v->max_tiles);
  return cache;
}

void
vlm_tile_cache_free (VlmTileCache *cache)
{
  if (!cache)
    return;
  device_free (cache->vision->dev, cache->state);
  device_free (cache->vision->dev, cache->pixels);
  device_free (cache->vision->dev, cache->changed);
  device_host_free (cache->vision->dev, cache->answer);
  g_free (cache->known);
  g_free (cache);
}

void
vlm_tile_cache_forget (VlmTileCache *cache)
{
  cache->lut = NULL;
  cache->same = FALSE;
  cache->n_asked = 0;
}

/* Of an answer that nobody waited for, as a request failed on the way, the
 * states are of no use. */
void
vlm_tile_cache_look (
    VlmTileCache *cache, const guint8 *tiles, const float *lut, int n_tiles)
{
  Device *dev = cache->vision->dev;
  gsize bytes = tile_bytes (&cache->vision->config);
  gboolean comparable = cache->lut == lut && !cache->n_asked;

  cache->same = FALSE;
  cache->n_asked = comparable ? n_tiles : 0;
  if (comparable) {
    dev->op->replace_rows (
        dev, cache->changed, cache->pixels, tiles, n_tiles, bytes);
    device_fetch (dev, cache->answer, cache->changed, n_tiles * sizeof (int));
  } else {
    dev->op->copy (dev, cache->pixels, tiles, n_tiles * bytes);
    memset (cache->known, 0, cache->vision->max_tiles * sizeof *cache->known);
  }
  /* A tile that this picture has not may come back changed. */
  for (int t = n_tiles; t < cache->vision->max_tiles; t++)
    cache->known[t] = FALSE;
  cache->lut = lut;
}

gboolean
vlm_tile_cache_hear (VlmTileCache *cache, gboolean waited)
{
  if (!cache->n_asked)
    return cache->same;
  if (!waited)
    device_sync (cache->vision->dev, NULL);
  cache->same = TRUE;
  for (int t = 0; t < cache->n_asked; t++)
    if (cache->answer[t]) {
      cache->known[t] = FALSE;
      cache->same = FALSE;
    }
  cache->n_asked = 0;
  return cache->same;
}

/* ---- the encoder's side ---- */

static Residual *
state_of (const VlmTileCache *cache, int tile, int i)
{
  const VlmVision *v = cache->vision;

  return cache->state +
         ((gsize) tile * n_states (v) + i) * state_values (&v->config);
}

gboolean
vlm_tile_cache_knows (const VlmTileCache *cache, int tile)
{
  return cache && cache->known[tile];
}

/* Copies the states of a tile between the cache and slot `slot`. */
static void
copy (VlmTileCache *cache, int tile, int slot, gboolean into)
{
  VlmVision *v = cache->vision;
  gsize values = state_values (&v->config);
  Residual *rows[1 + VLM_MAX_FEATURE_LAYERS];
  int n = 0;

  rows[n++] = v->x;
  for (int i = 0; i < v->n_feature_layers; i++)
    if (v->saved[i])
      rows[n++] = v->saved[i];
  for (int i = 0; i < n; i++) {
    Residual *mine = state_of (cache, tile, i), *its = rows[i] + slot * values;

    vlm_copy_rows (v->dev, into ? mine : its, into ? its : mine,
        v->config.n_patches + 1, v->config.width * sizeof *mine);
  }
}

void
vlm_tile_cache_get (VlmTileCache *cache, int tile, int slot)
{
  copy (cache, tile, slot, FALSE);
}

void
vlm_tile_cache_put (VlmTileCache *cache, int tile, int slot)
{
  copy (cache, tile, slot, TRUE);
  cache->known[tile] = TRUE;
}
