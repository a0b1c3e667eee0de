/* gsthiredvlm-properties.c - the element's properties, documented
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A property of a setting is one line in `places` and one in an install
 * function; setting and getting follow from its type.
 */
#include "gst/gsthiredvlm-private.h"

enum {
  PROP_0,
  PROP_MODEL_PATH,
  PROP_VISION_TOWER_PATH,
  PROP_DEVICE,
  PROP_WEIGHTS,
  PROP_THREADS,
  PROP_SHARE_MODEL,
  PROP_PROMPT,
  PROP_SYSTEM_PROMPT,
  PROP_RAW_PROMPT,
  PROP_POLICY,
  PROP_TOKEN_BUDGET,
  PROP_BUDGET_MODE,
  PROP_MIN_BUDGET,
  PROP_POLICY_PARAMS,
  PROP_POSITIONS,
  PROP_RESAMPLING,
  PROP_REUSE,
  PROP_MAX_TOKENS,
  PROP_TEMPERATURE,
  PROP_TOP_P,
  PROP_TOP_K,
  PROP_REPETITION_PENALTY,
  PROP_SEED,
  PROP_STOP,
  PROP_DECODE_ATTENTION,
  PROP_TIDAL_TOKENS,
  PROP_TIDAL_RESELECT_LAYER,
  PROP_TIDAL_GROUP,
  PROP_TIDAL_CORRECT_EVERY,
  PROP_MODE,
  PROP_INTERVAL,
  PROP_SCENE_THRESHOLD,
  PROP_CAPTION_TIMING,
  PROP_CAPTION_DURATION,
  PROP_TEXT_REFRESH,
  PROP_LATENCY,
  PROP_LATENESS,
  PROP_SINGLE_LINE,
  PROP_LANGUAGE,
  PROP_ATTACH_META,
  PROP_POST_MESSAGES,
  PROP_POST_PARTIAL,
  PROP_TAGS,
  PROP_DETAIL,
  PROP_DRAW_TOKENS,
  PROP_ANALYTICS_META,
  PROP_LABELS,
  PROP_LAST_CAPTION,
  PROP_MAX_OBSERVED_LAG,
  PROP_STATS,
  N_PROPS
};

#define PLACE(field) (G_STRUCT_OFFSET (GstHiredVlmSettings, field) + 1)

/* Offset + 1 of the setting; 0: not a setting of its own. */
static const gsize places[N_PROPS] = {
  [PROP_MODEL_PATH] = PLACE (model_path),
  [PROP_VISION_TOWER_PATH] = PLACE (tower_path),
  [PROP_DEVICE] = PLACE (device),
  [PROP_WEIGHTS] = PLACE (weights),
  [PROP_THREADS] = PLACE (threads),
  [PROP_SHARE_MODEL] = PLACE (share_model),
  [PROP_PROMPT] = PLACE (prompt),
  [PROP_SYSTEM_PROMPT] = PLACE (system_prompt),
  [PROP_RAW_PROMPT] = PLACE (raw_prompt),
  [PROP_POLICY] = PLACE (policy),
  [PROP_TOKEN_BUDGET] = PLACE (token_budget),
  [PROP_BUDGET_MODE] = PLACE (budget_mode),
  [PROP_MIN_BUDGET] = PLACE (min_budget),
  [PROP_POLICY_PARAMS] = PLACE (policy_params),
  [PROP_POSITIONS] = PLACE (positions),
  [PROP_RESAMPLING] = PLACE (resampling),
  [PROP_REUSE] = PLACE (reuse),
  [PROP_MAX_TOKENS] = PLACE (max_tokens),
  [PROP_TEMPERATURE] = PLACE (temperature),
  [PROP_TOP_P] = PLACE (top_p),
  [PROP_TOP_K] = PLACE (top_k),
  [PROP_REPETITION_PENALTY] = PLACE (repetition_penalty),
  [PROP_SEED] = PLACE (seed),
  [PROP_STOP] = PLACE (stop),
  [PROP_DECODE_ATTENTION] = PLACE (decode_attention),
  [PROP_TIDAL_TOKENS] = PLACE (tidal_tokens),
  [PROP_TIDAL_RESELECT_LAYER] = PLACE (tidal_reselect_layer),
  [PROP_TIDAL_GROUP] = PLACE (tidal_group),
  [PROP_TIDAL_CORRECT_EVERY] = PLACE (tidal_correct_every),
  [PROP_MODE] = PLACE (mode),
  [PROP_INTERVAL] = PLACE (interval),
  [PROP_SCENE_THRESHOLD] = PLACE (scene_threshold),
  [PROP_CAPTION_TIMING] = PLACE (timing),
  [PROP_CAPTION_DURATION] = PLACE (caption_duration),
  [PROP_TEXT_REFRESH] = PLACE (text_refresh),
  [PROP_LATENCY] = PLACE (latency),
  [PROP_LATENESS] = PLACE (lateness),
  [PROP_SINGLE_LINE] = PLACE (single_line),
  [PROP_LANGUAGE] = PLACE (language),
  [PROP_ATTACH_META] = PLACE (attach_meta),
  [PROP_POST_MESSAGES] = PLACE (post_messages),
  [PROP_POST_PARTIAL] = PLACE (post_partial),
  [PROP_TAGS] = PLACE (tags),
  [PROP_DETAIL] = PLACE (detail),
  [PROP_DRAW_TOKENS] = PLACE (draw_tokens),
  [PROP_ANALYTICS_META] = PLACE (analytics_meta),
  [PROP_LABELS] = PLACE (labels),
};

/* ---- set and get ---- */

/* Object lock held. */
static void
set_place (GstHiredVlm *self, guint id, const GValue *value)
{
  gpointer place = (guint8 *) &self->settings + places[id] - 1;

  switch (G_TYPE_FUNDAMENTAL (G_VALUE_TYPE (value))) {
  case G_TYPE_STRING:
    g_free (*(gchar **) place);
    *(gchar **) place = g_value_dup_string (value);
    break;
  case G_TYPE_BOOLEAN:
    *(gboolean *) place = g_value_get_boolean (value);
    break;
  case G_TYPE_INT:
    *(gint *) place = g_value_get_int (value);
    break;
  case G_TYPE_UINT:
    *(guint *) place = g_value_get_uint (value);
    break;
  case G_TYPE_UINT64:
    *(guint64 *) place = g_value_get_uint64 (value);
    break;
  case G_TYPE_DOUBLE:
    *(gdouble *) place = g_value_get_double (value);
    break;
  case G_TYPE_ENUM:
    *(gint *) place = g_value_get_enum (value);
    break;
  case G_TYPE_FLAGS:
    *(guint *) place = g_value_get_flags (value);
    break;
  case G_TYPE_BOXED:
    gst_clear_structure ((GstStructure **) place);
    *(GstStructure **) place = g_value_dup_boxed (value);
    if (*(GstStructure **) place == NULL)
      *(GstStructure **) place = gst_structure_new_empty ("params");
    break;
  default: /* GST_TYPE_ARRAY */
    gst_hired_vlm_settings_set_strings (place, value);
  }
}

/* Object lock held. */
static void
get_place (GstHiredVlm *self, guint id, GValue *value)
{
  gconstpointer place = (const guint8 *) &self->settings + places[id] - 1;

  switch (G_TYPE_FUNDAMENTAL (G_VALUE_TYPE (value))) {
  case G_TYPE_STRING:
    g_value_set_string (value, *(gchar *const *) place);
    break;
  case G_TYPE_BOOLEAN:
    g_value_set_boolean (value, *(const gboolean *) place);
    break;
  case G_TYPE_INT:
    g_value_set_int (value, *(const gint *) place);
    break;
  case G_TYPE_UINT:
    g_value_set_uint (value, *(const guint *) place);
    break;
  case G_TYPE_UINT64:
    g_value_set_uint64 (value, *(const guint64 *) place);
    break;
  case G_TYPE_DOUBLE:
    g_value_set_double (value, *(const gdouble *) place);
    break;
  case G_TYPE_ENUM:
    g_value_set_enum (value, *(const gint *) place);
    break;
  case G_TYPE_FLAGS:
    g_value_set_flags (value, *(const guint *) place);
    break;
  case G_TYPE_BOXED:
    g_value_set_boxed (value, *(GstStructure *const *) place);
    break;
  default: /* GST_TYPE_ARRAY */
    gst_hired_vlm_settings_get_strings (*(gchar * *const *) place, value);
  }
}

/* What a change means beyond the next description. */
static void
apply (GstHiredVlm *self, guint id)
{
  switch (id) {
  case PROP_LATENCY:
  case PROP_LATENESS:
  case PROP_TEXT_REFRESH:
  case PROP_LANGUAGE:
    gst_hired_vlm_configure_text (self);
    break;
  default:
    break;
  }
  if (id == PROP_LATENESS)
    gst_hired_vlm_restart_text (self);
  if (id == PROP_LATENCY || id == PROP_LATENESS)
    gst_element_post_message (
        GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

static void
set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstHiredVlm *self = GST_HIRED_VLM (object);

  if (id >= N_PROPS || places[id] == 0) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (self);
  set_place (self, id, value);
  if (id == PROP_POLICY)
    self->settings.policy_set = TRUE;
  if (id >= PROP_MODEL_PATH && id <= PROP_SHARE_MODEL)
    self->reopen = TRUE;
  if (id == PROP_PROMPT) {
    g_clear_pointer (&self->stream_prompt, g_free);
    g_clear_pointer (&self->once_prompt, g_free);
  }
  GST_OBJECT_UNLOCK (self);
  apply (self, id);
}

static void
get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstHiredVlm *self = GST_HIRED_VLM (object);

  if (id == PROP_STATS) {
    g_value_take_boxed (value, gst_hired_vlm_stats (self));
    return;
  }
  GST_OBJECT_LOCK (self);
  if (id == PROP_LAST_CAPTION)
    g_value_set_string (value, self->last_caption);
  else if (id == PROP_MAX_OBSERVED_LAG)
    g_value_set_uint64 (value, self->max_observed_lag);
  else if (id < N_PROPS && places[id] > 0)
    get_place (self, id, value);
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  GST_OBJECT_UNLOCK (self);
}

/* ---- what gst-inspect shows ---- */

#define BASE (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)
#define READY (BASE | GST_PARAM_MUTABLE_READY)
#define PLAYING (BASE | GST_PARAM_MUTABLE_PLAYING)
#define CURVE (PLAYING | GST_PARAM_CONTROLLABLE)
#define TOLD (G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)

static void
install_model (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_MODEL_PATH,
      g_param_spec_string ("model-path", "Model Path",
          "Folder of the checkpoint as published (config.json, safetensors, "
          "tokenizer.json); unset: the small model that comes with the plugin",
          NULL, READY));
  g_object_class_install_property (klass, PROP_VISION_TOWER_PATH,
      g_param_spec_string ("vision-tower-path", "Vision Tower Path",
          "Folder of the image encoder, for a checkpoint of LLaVA's own "
          "repository that comes without it; unset: it is in model-path",
          NULL, READY));
  g_object_class_install_property (klass, PROP_DEVICE,
      g_param_spec_string ("device", "Device",
          "Where the model runs: auto, cpu, cuda, cuda:N", "auto", READY));
  g_object_class_install_property (klass, PROP_WEIGHTS,
      g_param_spec_enum ("weights", "Weights", "Type the weights are kept in",
          gst_hired_vlm_weights_get_type (), VLM_WEIGHTS_AUTO, READY));
  g_object_class_install_property (klass, PROP_THREADS,
      g_param_spec_uint ("threads", "Threads",
          "Processor threads of the model, 0: one per processor", 0, 1024, 0,
          READY | GST_PARAM_DOC_SHOW_DEFAULT));
  g_object_class_install_property (klass, PROP_SHARE_MODEL,
      g_param_spec_boolean ("share-model", "Share Model",
          "Share one set of weights with the elements of this process that "
          "have the same model, device and weight type",
          TRUE, READY));
}

static void
install_prompt (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_PROMPT,
      g_param_spec_string ("prompt", "Prompt",
          "What to ask about each frame; unset: \"Describe the picture.\". "
          "The next description uses it",
          NULL, PLAYING));
  g_object_class_install_property (klass, PROP_SYSTEM_PROMPT,
      g_param_spec_string ("system-prompt", "System Prompt",
          "Text before the conversation, if the chat template has a place "
          "for it",
          NULL, PLAYING));
  g_object_class_install_property (klass, PROP_RAW_PROMPT,
      g_param_spec_boolean ("raw-prompt", "Raw Prompt",
          "The prompt is the model's whole input with its <image>; no chat "
          "template is applied",
          FALSE, PLAYING));
  g_object_class_install_property (klass, PROP_STOP,
      gst_param_spec_array ("stop", "Stop",
          "Strings that end a description, with which its text then ends",
          g_param_spec_string ("string", "String", "A string", NULL, BASE),
          PLAYING));
}

/* "... - hired: alpha, 0 to 1, default 0.5 (what it is)", a line for each
 * parameter, once for the process. */
static const gchar *
policy_params_blurb (void)
{
  static gsize blurb;

  if (g_once_init_enter (&blurb)) {
    GString *s = g_string_new ("Parameters of the policy, for instance "
                               "params,alpha=0.5; of each policy:\n");

    for (guint i = 0; vlm_policies[i]; i++)
      for (gint j = 0; j < vlm_policies[i]->n_params; j++) {
        const VlmPolicyParam *p = &vlm_policies[i]->params[j];

        g_string_append_printf (s, "\n- %s: %s, %g to %g, default %g (%s)",
            vlm_policies[i]->name, p->name, p->minimum, p->maximum, p->fallback,
            p->blurb);
      }
    g_once_init_leave (&blurb, (gsize) g_string_free (s, FALSE));
  }
  return (const gchar *) blurb;
}

static void
install_policy (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_POLICY,
      g_param_spec_enum ("policy", "Policy",
          "How the visual tokens to keep are chosen; where it is not set, "
          "FlexAttention models, which choose in their layers, keep all",
          gst_hired_vlm_policy_get_type (), 0, PLAYING));
  /**
   * GstHiredVlm:token-budget:
   *
   * The share of visual tokens the language model gets to see. Less is
   * faster: 0.2 makes the first token come several times sooner than 1.
   */
  g_object_class_install_property (klass, PROP_TOKEN_BUDGET,
      g_param_spec_double ("token-budget", "Token Budget",
          "Visual tokens to keep: a share up to 1, a number of tokens above "
          "1",
          0, 1000000, 0.2, CURVE));
  g_object_class_install_property (klass, PROP_BUDGET_MODE,
      g_param_spec_enum ("budget-mode", "Budget Mode",
          "Whether the budget moves so that a description takes no longer "
          "than interval; the caption says which it had",
          gst_hired_vlm_budget_mode_get_type (), GST_HIRED_VLM_BUDGET_FIXED,
          PLAYING));
  g_object_class_install_property (klass, PROP_MIN_BUDGET,
      g_param_spec_double ("min-budget", "Min Budget",
          "Least budget of the adaptive mode, in the unit of token-budget", 0,
          1000000, 0.05, CURVE));
  g_object_class_install_property (klass, PROP_POLICY_PARAMS,
      g_param_spec_boxed ("policy-params", "Policy Parameters",
          policy_params_blurb (), GST_TYPE_STRUCTURE, PLAYING));
  /**
   * GstHiredVlm:positions:
   *
   * Closed up, as HiRED's authors have it, a model sees what is left as one
   * small picture. In their places kept tokens tell where they come from, but
   * the context must hold the positions of those dropped too.
   */
  g_object_class_install_property (klass, PROP_POSITIONS,
      g_param_spec_enum ("positions", "Positions",
          "Where kept visual tokens stand for the language model when others "
          "were dropped",
          gst_hired_vlm_positions_get_type (), VLM_POSITIONS_AUTO, PLAYING));
  g_object_class_install_property (klass, PROP_RESAMPLING,
      g_param_spec_enum ("resampling", "Resampling",
          "Whose resizing of pictures is reproduced bit for bit",
          gst_hired_vlm_resampling_get_type (), VLM_RESAMPLING_TORCHVISION,
          PLAYING));
  g_object_class_install_property (klass, PROP_REUSE,
      g_param_spec_flags ("reuse", "Reuse",
          "What is used of the last description where the video repeats "
          "itself; "
          "captions are the same without, stats count the hits",
          gst_hired_vlm_reuse_get_type (), VLM_REUSE_ALL, PLAYING));
}

static void
install_generation (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_MAX_TOKENS,
      g_param_spec_uint ("max-tokens", "Max Tokens",
          "Tokens after which a description is cut", 1, G_MAXINT, 128, CURVE));
  g_object_class_install_property (klass, PROP_TEMPERATURE,
      g_param_spec_double ("temperature", "Temperature",
          "Randomness of the wording, 0: the likeliest token always", 0, 100, 0,
          CURVE));
  g_object_class_install_property (klass, PROP_TOP_P,
      g_param_spec_double ("top-p", "Top P",
          "Draw from the likeliest tokens that together have this "
          "probability, 1: from all",
          0, 1, 1, CURVE));
  g_object_class_install_property (klass, PROP_TOP_K,
      g_param_spec_uint ("top-k", "Top K",
          "Draw from this many likeliest tokens, 0: from all", 0, G_MAXINT, 0,
          PLAYING));
  g_object_class_install_property (klass, PROP_REPETITION_PENALTY,
      g_param_spec_double ("repetition-penalty", "Repetition Penalty",
          "Above 1 makes tokens that occurred less likely, 1: off", 0.01, 100,
          1, CURVE));
  g_object_class_install_property (klass, PROP_SEED,
      g_param_spec_uint64 ("seed", "Seed",
          "Start of the random draws; each description draws anew from it", 0,
          G_MAXUINT64, 0, PLAYING));
}

static void
install_attention (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_DECODE_ATTENTION,
      g_param_spec_enum ("decode-attention", "Decode Attention",
          "What new tokens attend to; prompts are always read in full",
          gst_hired_vlm_decode_attention_get_type (), VLM_DECODE_FULL,
          PLAYING));
  g_object_class_install_property (klass, PROP_TIDAL_TOKENS,
      g_param_spec_int ("tidal-tokens", "Tidal Tokens",
          "Cached tokens that a layer of decode-attention=tidal attends to; "
          "while there are no more, attention is full",
          VLM_TIDAL_MIN_TOKENS, G_MAXINT, 256, PLAYING));
  g_object_class_install_property (klass, PROP_TIDAL_RESELECT_LAYER,
      g_param_spec_int ("tidal-reselect-layer", "Tidal Reselect Layer",
          "Layer, counted from 0, that chooses a second time after the third; "
          "0: none, -1: the one known for the model",
          VLM_TIDAL_KNOWN_LAYER, G_MAXINT, VLM_TIDAL_KNOWN_LAYER, PLAYING));
  g_object_class_install_property (klass, PROP_TIDAL_GROUP,
      g_param_spec_enum ("tidal-group", "Tidal Group",
          "What is chosen, and for whom", gst_hired_vlm_tidal_group_get_type (),
          VLM_TIDAL_KV, PLAYING));
  g_object_class_install_property (klass, PROP_TIDAL_CORRECT_EVERY,
      g_param_spec_int ("tidal-correct-every", "Tidal Correct Every",
          "After so many new tokens they are read again with full attention, "
          "0: never",
          0, G_MAXINT, 0, PLAYING));
}

static void
install_choice (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_MODE,
      g_param_spec_enum ("mode", "Mode", "Whether video waits for its captions",
          gst_hired_vlm_mode_get_type (), GST_HIRED_VLM_MODE_AUTO, READY));
  g_object_class_install_property (klass, PROP_INTERVAL,
      g_param_spec_uint64 ("interval", "Interval",
          "Running time between two described frames in nanoseconds, 0: as "
          "often as the model can, -1: only when asked",
          0, G_MAXUINT64, GST_SECOND, CURVE));
  g_object_class_install_property (klass, PROP_SCENE_THRESHOLD,
      g_param_spec_double ("scene-threshold", "Scene Threshold",
          "A due frame that differs less than this (mean luma difference, 0 "
          "to 1) from the last described one keeps its caption, 0: off",
          0, 1, 0, CURVE));
  g_object_class_install_property (klass, PROP_LATENCY,
      g_param_spec_uint64 ("latency", "Latency",
          "Nanoseconds a live pipeline waits so that captions meet their "
          "frames, 0: no waiting, captions are about the recent past",
          0, G_MAXINT64, 0, READY));
  g_object_class_install_property (klass, PROP_LATENESS,
      g_param_spec_uint64 ("lateness", "Lateness",
          "Nanoseconds captions are shown later; nothing else is delayed", 0,
          G_MAXINT64, 0, PLAYING));
}

static void
install_text (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_CAPTION_TIMING,
      g_param_spec_enum ("caption-timing", "Caption Timing",
          "Time captions have on the text pad",
          gst_hired_vlm_timing_get_type (), GST_HIRED_VLM_TIMING_AUTO, READY));
  g_object_class_install_property (klass, PROP_CAPTION_DURATION,
      g_param_spec_uint64 ("caption-duration", "Caption Duration",
          "Nanoseconds a caption is shown, -1: until the next is due", 0,
          G_MAXUINT64, GST_CLOCK_TIME_NONE, PLAYING));
  g_object_class_install_property (klass, PROP_TEXT_REFRESH,
      g_param_spec_uint64 ("text-refresh", "Text Refresh",
          "With arrival timing captions are repeated in slices of this many "
          "nanoseconds, so that a new one shows soon, 0: one cue per caption",
          0, G_MAXINT64, 500 * GST_MSECOND, PLAYING));
  g_object_class_install_property (klass, PROP_SINGLE_LINE,
      g_param_spec_boolean ("single-line", "Single Line",
          "Make any run of white space one space", TRUE, PLAYING));
  g_object_class_install_property (klass, PROP_LANGUAGE,
      g_param_spec_string ("language", "Language",
          "Language of the captions, ISO 639, for the tags of the text pad",
          "en", PLAYING));
}

static void
install_output (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_ATTACH_META,
      g_param_spec_enum ("attach-meta", "Attach Meta",
          "Which video buffers carry the caption as a GstCustomMeta "
          "hiredvlm-caption",
          gst_hired_vlm_attach_get_type (), GST_HIRED_VLM_ATTACH_NEW, PLAYING));
  g_object_class_install_property (klass, PROP_POST_MESSAGES,
      g_param_spec_boolean ("post-messages", "Post Messages",
          "Post each caption on the bus as hiredvlm-caption", TRUE, PLAYING));
  g_object_class_install_property (klass, PROP_POST_PARTIAL,
      g_param_spec_boolean ("post-partial", "Post Partial",
          "Post the text so far as hiredvlm-partial, ten times a second at "
          "most",
          FALSE, PLAYING));
  g_object_class_install_property (klass, PROP_TAGS,
      g_param_spec_boolean ("tags", "Tags",
          "In sync mode send each caption as a description tag before its "
          "buffer, so that jpegenc ! jifmux writes it into the picture",
          FALSE, PLAYING));
  g_object_class_install_property (klass, PROP_DETAIL,
      g_param_spec_boolean ("detail", "Detail",
          "Add prompt, token ids, tile grid and kept tokens to the caption "
          "structure",
          FALSE, PLAYING));
  g_object_class_install_property (klass, PROP_DRAW_TOKENS,
      g_param_spec_boolean ("draw-tokens", "Draw Tokens",
          "Put an overlay on video that darkens the dropped tokens of the "
          "last described frame; textoverlay and many sinks draw it",
          FALSE, PLAYING));
}

#if HAVE_ANALYTICS
static void
install_analytics (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_ANALYTICS_META,
      g_param_spec_boolean ("analytics-meta", "Analytics Meta",
          "Add the caption to the GstAnalyticsRelationMeta of buffers that "
          "carry it, related to the objects detected there",
          FALSE, PLAYING));
  g_object_class_install_property (klass, PROP_LABELS,
      gst_param_spec_array ("labels", "Labels",
          "With analytics-meta: an answer that begins with one of these is "
          "also a classification, for instance <yes, no>",
          g_param_spec_string ("label", "Label", "A label", NULL, BASE),
          PLAYING));
}
#endif

static void
install_told (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_LAST_CAPTION,
      g_param_spec_string ("last-caption", "Last Caption",
          "Text of the newest caption; notified on the engine's worker", NULL,
          TOLD));
  g_object_class_install_property (klass, PROP_MAX_OBSERVED_LAG,
      g_param_spec_uint64 ("max-observed-lag", "Max Observed Lag",
          "Longest time in nanoseconds a caption came after its live frame", 0,
          G_MAXUINT64, 0, TOLD));
  g_object_class_install_property (klass, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics",
          "Frames in, described, skipped by reason and failed; last, mean "
          "and longest times; tokens; the model's name, device and memory",
          GST_TYPE_STRUCTURE, TOLD));
}

void
gst_hired_vlm_install_properties (GObjectClass *klass)
{
  klass->set_property = set_property;
  klass->get_property = get_property;
  install_model (klass);
  install_prompt (klass);
  install_policy (klass);
  install_generation (klass);
  install_attention (klass);
  install_choice (klass);
  install_text (klass);
  install_output (klass);
#if HAVE_ANALYTICS
  install_analytics (klass);
#endif
  install_told (klass);
}
