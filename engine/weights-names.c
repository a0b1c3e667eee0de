/* weights-names.c - one name for a tensor, however a folder spells it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transformers has written LLaVA checkpoints in three layouts (before 4.52,
 * 4.52 and after, 5.x) and mixtures of them.
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

char *
vlm_weights_published_name (const char *canonical)
{
  for (gsize i = 0; i < G_N_ELEMENTS (renamings); i++)
    if (g_str_has_prefix (canonical, renamings[i].to))
      return g_strconcat (
          renamings[i].from, canonical + strlen (renamings[i].to), NULL);
  return g_strdup (canonical);
}

char *
vlm_weights_canonical_name (const char *name)
{
  g_autofree char *canonical = NULL;

  name = strip_model (name);
  for (gsize i = 0; i < G_N_ELEMENTS (renamings) && !canonical; i++)
    if (g_str_has_prefix (name, renamings[i].from))
      canonical = g_strconcat (
          renamings[i].to, name + strlen (renamings[i].from), NULL);
  if (!canonical)
    canonical = g_strdup (name);
  return is_unused (canonical) ? NULL : g_steal_pointer (&canonical);
}
