/* fine.c - memory for FlexAttention's finer pictures
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/fine.h"

#include <string.h>

#include "engine/error.h"
#include "engine/scratch.h"

static int
fine_tokens (const VlmConfig *config)
{
  int side = config->vision.side * config->zoom.ratio;

  return side * side;
}

int
vlm_fine_pages (const VlmConfig *config)
{
  return (fine_tokens (config) + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

/* All cells are whole pages if the ninth part of a side is a page's side. */
static gboolean
is_paged (const VlmConfig *config)
{
  return fine_tokens (config) % (VLM_FINE_CELLS * KV_PAGE_TOKENS) == 0;
}

static guint64
picture_bytes (const Device *dev, const VlmConfig *config)
{
  const VlmTextConfig *text = &config->text;

  return (guint64) fine_tokens (config) *
         (text->width * dev->act_bytes + text->head_width * sizeof (float));
}

guint64
vlm_fine_bytes (const Device *dev, const VlmConfig *config)
{
  const VlmTextConfig *text = &config->text;
  guint64 key = (guint64) text->kv_heads * text->head_width * dev->act_bytes;
  guint64 pages = vlm_fine_pages (config);
  int layers = MAX (text->layers - config->zoom.layer, 0);

  if (!config->zoom.ratio)
    return 0;
  return picture_bytes (dev, config) + sizeof (int) * fine_tokens (config) +
         pages *
             (vlm_fine_page_bytes (config) + 2 * layers * key * KV_PAGE_TOKENS);
}

guint64
vlm_fine_page_bytes (const VlmConfig *config)
{
  if (!config->zoom.ratio)
    return 0;
  return sizeof (int) *
         (is_paged (config) ? 1 : 1 + config->text.heads * KV_PAGE_TOKENS);
}

static void
lay_out (VlmFineStore *store, const VlmConfig *config, int n_pages)
{
  gsize tokens = fine_tokens (config), act = store->dev->act_bytes;
  VlmArena arena = { .base = store->memory };

  for (int i = 0; i < store->n_pictures; i++) {
    VlmFine *fine = &store->pictures[i];

    fine->features = vlm_arena_take (&arena, tokens * config->text.width, act);
    fine->rope = vlm_arena_take (
        &arena, tokens * config->text.head_width, sizeof (float));
    fine->first_page = n_pages + i * vlm_fine_pages (config);
  }
}

static void
take_lists (VlmFineStore *store)
{
  gsize keys = (gsize) store->list_pages * KV_PAGE_TOKENS * store->text.heads;

  store->host_list = g_new (int, store->list_pages);
  store->list = device_alloc (store->dev, store->list_pages * sizeof (int));
  if (store->paged)
    return;
  store->host_keys = g_new (int, keys);
  store->keys = device_alloc (store->dev, keys * sizeof (int));
}

VlmFineStore *
vlm_fine_store_new (Device *dev, const VlmConfig *config, int n_pictures,
    int n_pages, GError **error)
{
  g_autoptr (VlmFineStore) store = g_new0 (VlmFineStore, 1);
  int tokens = fine_tokens (config), layers = config->text.layers;
  /* each piece of the arena is rounded up */
  gsize bytes = n_pictures * (picture_bytes (dev, config) + 2 * 64);

  store->dev = dev;
  store->text = config->text;
  store->layer = config->zoom.layer;
  store->paged = is_paged (config);
  for (int i = 0; i < VLM_FINE_CELLS; i++) {
    store->cells[i] =
        vlm_fine_cell (config->vision.side * config->zoom.ratio, i);
    store->most = MAX (store->most, store->cells[i].n);
  }
  store->n_pictures = n_pictures;
  store->pictures = g_new0 (VlmFine, n_pictures);
  store->host_rope = g_new (float, (gsize) tokens * config->text.head_width);
  store->list_pages = n_pages + n_pictures * vlm_fine_pages (config);
  take_lists (store);
  store->host_slots = g_new (int, tokens);
  for (int i = 0; i < n_pictures; i++) {
    VlmFine *fine = &store->pictures[i];

    fine->store = store;
    fine->filled = g_new0 (guint8, (gsize) layers * VLM_FINE_CELLS);
    fine->selected = g_new0 (guint64, layers);
    fine->view = (VlmFineView){ .side = config->vision.side,
      .fine_side = config->vision.side * config->zoom.ratio,
      .threshold = config->zoom.threshold };
  }
  store->memory = device_alloc (dev, bytes);
  store->slots = device_alloc (dev, tokens * sizeof (int));
  if (!vlm_device_check (dev, error))
    return NULL;
  lay_out (store, config, n_pages);
  return g_steal_pointer (&store);
}

void
vlm_fine_store_free (VlmFineStore *store)
{
  if (!store)
    return;
  for (int i = 0; i < store->n_pictures; i++) {
    g_free (store->pictures[i].filled);
    g_free (store->pictures[i].selected);
  }
  device_free (store->dev, store->memory);
  device_free (store->dev, store->list);
  device_free (store->dev, store->keys);
  device_free (store->dev, store->slots);
  g_free (store->pictures);
  g_free (store->host_rope);
  g_free (store->host_list);
  g_free (store->host_keys);
  g_free (store->host_slots);
  g_free (store);
}

VlmFine *
vlm_fine_take (VlmFineStore *store)
{
  for (int i = 0; i < store->n_pictures; i++) {
    VlmFine *fine = &store->pictures[i];

    if (fine->taken)
      continue;
    fine->taken = TRUE;
    fine->steps = fine->n_lit = fine->n_keys = 0;
    memset (fine->lit, 0, sizeof fine->lit);
    memset (fine->filled, 0, (gsize) store->text.layers * VLM_FINE_CELLS);
    memset (fine->selected, 0, store->text.layers * sizeof *fine->selected);
    return fine;
  }
  return NULL;
}

void
vlm_fine_give (VlmFine *fine)
{
  if (fine)
    fine->taken = FALSE;
}

const int *
vlm_fine_rows (VlmFine *fine)
{
  int G = fine->view.fine_side, *rows = fine->store->host_slots;

  for (int i = 0; i < G * G; i++)
    rows[i] = vlm_fine_row (&fine->view, i / G, i % G);
  return rows;
}

void
vlm_fine_begin (VlmFine *fine, int begin, int width, int height, int length)
{
  VlmFineStore *store = fine->store;
  gsize values = (gsize) fine->view.fine_side * fine->view.fine_side *
                 store->text.head_width;

  fine->view.begin = begin;
  fine->view.width = width;
  fine->view.height = height;
  vlm_fine_rope (&store->text, &fine->view, length, store->host_rope);
  device_upload (
      store->dev, fine->rope, store->host_rope, values * sizeof (float));
}
