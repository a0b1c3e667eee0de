/* weights-names.c - one name for a tensor, however a folder spells it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transformers has written LLaVA checkpoints in three layouts (before 4.52,
 * 4.52 and after, 5.x) and mixtures of them; LLaVA's own repository has one.
 */
#include "engine/weights.h"

#include <string.h>

typedef struct {
  const char *from, *to; /* prefixes, longest first */
} Renaming;

static const Renaming renamings[] = {
  { "language_model.lm_head.", "lm_head." },
  { "language_model.model.", "text." },
  { "language_model.", "text." },
  { "vision_tower.vision_model.", "vision." },
  { "vision_tower.", "vision." },
};

/* LLaVA's own repository, and a CLIP folder of its own. */
static const Renaming originals[] = {
  { "model.vision_tower.vision_tower.vision_model.", "vision." },
  { "model.mm_projector.0.", "multi_modal_projector.linear_1." },
  { "model.mm_projector.2.", "multi_modal_projector.linear_2." },
  { "model.image_newline", "image_newline" },
  { "model.embed_tokens.", "text.embed_tokens." },
  { "model.layers.", "text.layers." },
  { "model.norm.", "text.norm." },
  { "vision_model.", "vision." },
};

static const char *const parts[] = { "language_model.", "vision_tower.",
  "multi_modal_projector.", "image_newline", "lm_head." };

static const char *
strip_model (const char *name)
{
  if (!g_str_has_prefix (name, "model."))
    return name;
  for (gsize i = 0; i < G_N_ELEMENTS (parts); i++)
    if (g_str_has_prefix (name + 6, parts[i]))
      return name + 6;
  return name;
}

static gboolean
is_unused (const char *canonical)
{
  return g_str_has_suffix (canonical, ".rotary_emb.inv_freq") ||
         g_str_equal (canonical, "vision.embeddings.position_ids") ||
         g_str_has_prefix (canonical, "vision.post_layernorm.");
}

/* The name with another prefix, by the first renaming that fits, or NULL. */
static char *
rename_from (const Renaming *list, gsize n, const char *name)
{
  for (gsize i = 0; i < n; i++)
    if (g_str_has_prefix (name, list[i].from))
      return g_strconcat (list[i].to, name + strlen (list[i].from), NULL);
  return NULL;
}

static char *
rename_back (const Renaming *list, gsize n, const char *name)
{
  for (gsize i = 0; i < n; i++)
    if (g_str_has_prefix (name, list[i].to))
      return g_strconcat (list[i].from, name + strlen (list[i].to), NULL);
  return g_strdup (name);
}

char *
vlm_weights_published_name (const char *canonical, gboolean original)
{
  return original
             ? rename_back (originals, G_N_ELEMENTS (originals), canonical)
             : rename_back (renamings, G_N_ELEMENTS (renamings), canonical);
}

gboolean
vlm_weights_is_original (const char *name)
{
  return g_str_has_prefix (name, "model.mm_projector.") ||
         g_str_has_prefix (name, "model.layers.");
}

char *
vlm_weights_canonical_name (const char *name)
{
  g_autofree char *canonical =
      rename_from (originals, G_N_ELEMENTS (originals), name);

  name = strip_model (name);
  if (!canonical)
    canonical = rename_from (renamings, G_N_ELEMENTS (renamings), name);
  if (!canonical)
    canonical = g_strdup (name);
  return is_unused (canonical) ? NULL : g_steal_pointer (&canonical);
}
