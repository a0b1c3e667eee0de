/* tidal.c - TidalDecode: which keys a decode step attends to, layer by layer
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/tidal.h"

#include <glib/gi18n-lib.h>

#include "engine/error.h"

#define SHORT_DECODER 8 /* layers: fewer have no room for a second choice */

/* 0 for none, negative if it is not known. */
static int
known_layer (const VlmTextConfig *text)
{
  gboolean llama_7b =
      text->kind == VLM_TEXT_LLAMA && text->layers == 32 && text->width == 4096;

  if (text->layers < SHORT_DECODER)
    return 0;
  if (llama_7b && text->kv_heads == 32)
    return 7;
  if (llama_7b && text->kv_heads == 8)
    return 13;
  return VLM_TIDAL_KNOWN_LAYER;
}

static gboolean
refuse (GError **error, const char *setting, const char *name, const char *what,
    int found, const char *expected)
{
  return vlm_fail (error, VLM_ERROR_REQUEST, VLM_ABOUT (.setting = setting),
      "decode-attention=tidal: %s %s is %d, %s.", name, vlm_text (what), found,
      vlm_text (expected));
}

static gboolean
check_layer (const VlmTidal *tidal, const VlmTextConfig *text, const char *name,
    GError **error)
{
  int layer = tidal->reselect_layer;

  if (layer == 0 || (layer > VLM_TIDAL_SELECT_LAYER && layer < text->layers))
    return TRUE;
  return vlm_fail (error, VLM_ERROR_REQUEST,
      VLM_ABOUT (.setting = "tidal-reselect-layer"),
      layer < 0
          ? N_ ("decode-attention=tidal: no re-selection layer is known for "
                "%s; set tidal-reselect-layer to one of %d to %d, or to 0 "
                "for none.")
          : N_ ("decode-attention=tidal: the re-selection layer of %s must "
                "be one of %d to %d, or 0 for none."),
      name, VLM_TIDAL_SELECT_LAYER + 1, text->layers - 1);
}

gboolean
vlm_tidal_init (VlmTidal *tidal, const VlmTidalSettings *settings,
    const VlmTextConfig *text, const char *name, GError **error)
{
  *tidal = (VlmTidal){ .group = settings->group,
    .tokens = settings->tokens,
    .reselect_layer = settings->reselect_layer };
  if (settings->tokens < VLM_TIDAL_MIN_TOKENS)
    return refuse (error, "tidal-tokens", name, "tidal-tokens",
        settings->tokens, N_ ("but a choice is of 2 tokens at least"));
  if (text->layers <= VLM_TIDAL_SELECT_LAYER + 1)
    return refuse (error, "decode-attention", name,
        N_ ("number of decoder layers"), text->layers,
        N_ ("but sparse layers begin with the fourth"));
  if (tidal->reselect_layer == VLM_TIDAL_KNOWN_LAYER)
    tidal->reselect_layer = known_layer (text);
  return check_layer (tidal, text, name, error);
}

gboolean
vlm_tidal_applies (const VlmTidal *tidal, int n, int length)
{
  return tidal && n == 1 && (tidal->always || length > tidal->tokens);
}

VlmTidalLayer
vlm_tidal_layer (const VlmTidal *tidal, int layer)
{
  if (layer < VLM_TIDAL_SELECT_LAYER)
    return VLM_TIDAL_DENSE;
  if (layer == VLM_TIDAL_SELECT_LAYER || layer == tidal->reselect_layer)
    return VLM_TIDAL_SELECT;
  return VLM_TIDAL_SPARSE;
}

KeyChoice
vlm_tidal_choice (const VlmTidal *tidal)
{
  int pages = (tidal->tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;

  switch (tidal->group) {
  case VLM_TIDAL_QUERY:
    return (KeyChoice){ KEYS_OF_QUERY_HEAD, tidal->tokens, 0 };
  case VLM_TIDAL_PAGES:
    return (KeyChoice){ PAGES_OF_KV_HEAD, MAX (pages, 2), 1 };
  case VLM_TIDAL_KV:
    break;
  }
  return (KeyChoice){ KEYS_OF_KV_HEAD, tidal->tokens, 1 };
}

gboolean
vlm_tidal_equal (const VlmTidal *a, const VlmTidal *b)
{
  if (!a || !b)
    return a == b;
  return a->group == b->group && a->tokens == b->tokens &&
         a->reselect_layer == b->reselect_layer;
}
