/* gsthiredvlm-stats.c - the property `stats`
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

static void
spread_add (Spread *spread, guint64 value)
{
  if (!GST_CLOCK_TIME_IS_VALID (value))
    return;
  spread->last = value;
  spread->max = MAX (spread->max, value);
  spread->sum += value;
  spread->n++;
}

static void
spread_put (GstStructure *s, const gchar *name, const Spread *spread)
{
  g_autofree gchar *last = g_strconcat ("last-", name, NULL);
  g_autofree gchar *mean = g_strconcat ("mean-", name, NULL);
  g_autofree gchar *max = g_strconcat ("max-", name, NULL);

  gst_structure_set (s, last, G_TYPE_UINT64, spread->last, mean, G_TYPE_UINT64,
      spread->n ? spread->sum / spread->n : 0, max, G_TYPE_UINT64, spread->max,
      NULL);
}

void
gst_hired_vlm_stats_described (
    GstHiredVlm *self, const VlmResult *result, guint64 lag)
{
  Stats *stats = &self->stats;

  stats->described++;
  stats->image_tokens += result->image_tokens;
  stats->image_tokens_kept += result->image_tokens_kept;
  stats->tokens += result->tokens;
  stats->fine_tokens = result->fine_tokens;
  stats->tiles_reused += result->tiles_reused;
  stats->tokens_reused += result->tokens_reused;
  stats->tokens_drafted += result->tokens_drafted;
  stats->tokens_per_second = result->tokens_per_second;
  spread_add (&stats->ttft, (guint64) result->ttft_us * GST_USECOND);
  spread_add (&stats->total, (guint64) result->total_us * GST_USECOND);
  spread_add (&stats->lag, lag);
}

static void
put_engine (GstStructure *s, VlmEngine *engine)
{
  VlmEngineInfo info;

  if (engine == NULL)
    return;
  vlm_engine_info (engine, &info);
  gst_structure_set (s, "model", G_TYPE_STRING, info.model, "device",
      G_TYPE_STRING, info.device, "weights", G_TYPE_STRING, info.weights,
      "weight-bytes", G_TYPE_UINT64, info.weight_bytes, "cache-bytes",
      G_TYPE_UINT64, info.cache_bytes, "sharers", G_TYPE_UINT, info.sharers,
      NULL);
}

GstStructure *
gst_hired_vlm_stats (GstHiredVlm *self)
{
  GstStructure *s = gst_structure_new_empty ("application/x-hiredvlm-stats");
  guint64 n_buffers, n_lost;
  VlmEngine *engine = NULL;
  Stats stats;

  g_mutex_lock (&self->lock);
  stats = self->stats;
  if (self->engine)
    engine = vlm_engine_ref (self->engine);
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_text_counts (&self->text, &n_buffers, &n_lost);
  gst_structure_set (s, "in", G_TYPE_UINT64, stats.in, "described",
      G_TYPE_UINT64, stats.described, "failed", G_TYPE_UINT64, stats.failed,
      "cancelled", G_TYPE_UINT64, stats.cancelled, "skipped-interval",
      G_TYPE_UINT64, stats.skipped[SKIP_INTERVAL], "skipped-busy",
      G_TYPE_UINT64, stats.skipped[SKIP_BUSY], "skipped-unchanged",
      G_TYPE_UINT64, stats.skipped[SKIP_UNCHANGED], "skipped-loading",
      G_TYPE_UINT64, stats.skipped[SKIP_LOADING], "skipped-trick",
      G_TYPE_UINT64, stats.skipped[SKIP_TRICK], "text-buffers", G_TYPE_UINT64,
      n_buffers, "text-lost", G_TYPE_UINT64, n_lost, "image-tokens",
      G_TYPE_UINT64, stats.image_tokens, "image-tokens-kept", G_TYPE_UINT64,
      stats.image_tokens_kept, "tokens", G_TYPE_UINT64, stats.tokens,
      "tokens-per-second", G_TYPE_DOUBLE, stats.tokens_per_second, NULL);
  gst_structure_set (s, "skipped-outside", G_TYPE_UINT64,
      stats.skipped[SKIP_OUTSIDE], "token-budget", G_TYPE_DOUBLE,
      gst_hired_vlm_budget (self), NULL);
  gst_structure_set (s, "fine-tokens", G_TYPE_DOUBLE, stats.fine_tokens, NULL);
  gst_structure_set (s, "tiles-reused", G_TYPE_UINT64, stats.tiles_reused,
      "prompt-tokens-reused", G_TYPE_UINT64, stats.tokens_reused,
      "tokens-drafted", G_TYPE_UINT64, stats.tokens_drafted, NULL);
  spread_put (s, "ttft", &stats.ttft);
  spread_put (s, "total", &stats.total);
  spread_put (s, "lag", &stats.lag);
  put_engine (s, engine);
  g_clear_pointer (&engine, vlm_engine_unref);
  return s;
}
