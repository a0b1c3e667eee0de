/* model.h - what a checkpoint folder says: sizes, kinds, files, prompt
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A VlmModel is a folder read and checked, with its weights mapped but not
 * yet on a device. It never changes after vlm_model_open and may be read from
 * any thread. Key names are those of config.json as transformers writes it.
 */
#pragma once

#include <glib.h>
#include "engine/tokenizer.h"
#include "engine/weights.h"

G_BEGIN_DECLS

#define VLM_MAX_FEATURE_LAYERS 8
#define VLM_MAX_PINPOINTS 64
#define VLM_MAX_EOS 16

typedef enum {
  VLM_TEXT_LLAMA,
  VLM_TEXT_MISTRAL,
  VLM_TEXT_QWEN2,
} VlmTextKind;

typedef enum {
  VLM_ROPE_DEFAULT,
  VLM_ROPE_LINEAR,
  VLM_ROPE_DYNAMIC,
  VLM_ROPE_LLAMA3,
  VLM_ROPE_YARN,
} VlmRopeKind;

typedef enum {
  VLM_ACT_GELU,       /* erf form */
  VLM_ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
} VlmActivation;

typedef struct {
  VlmRopeKind kind;
  double theta;
  double factor;
  double low_freq_factor, high_freq_factor; /* llama3 */
  int original_max_position;                /* llama3, yarn, dynamic */
  double beta_fast, beta_slow;              /* yarn */
  gboolean truncate;                        /* yarn: whole ramp bounds */
  double attention_factor;                  /* yarn; already resolved */
} VlmRope;

typedef struct {
  int width, hidden, layers, heads; /* C, F, L, heads of width / heads */
  int image_size, patch;            /* T, P in pixels */
  int side, n_patches;              /* g = T / P, N = g g */
  VlmActivation activation;
  float eps;
} VlmVisionConfig;

typedef struct {
  VlmTextKind kind;
  int vocab;  /* rows of the embedding table */
  int width;  /* D */
  int hidden; /* I */
  int layers, heads, kv_heads, head_width;
  float eps;
  VlmRope rope;
  int max_position;
  gboolean qkv_bias, o_bias, mlp_bias;
  gboolean tied; /* no lm_head of its own; known once weights are */
  int *window;   /* [layers] sliding window in tokens, 0 = none; owned */
} VlmTextConfig;

typedef enum {
  VLM_IMAGE_ANYRES,      /* base tile and a grid chosen from pinpoints */
  VLM_IMAGE_CENTRE_CROP, /* LLaVA-1.5: short side to T, centre crop */
  VLM_IMAGE_PAD_SQUARE,  /* LLaVA-1.5 with do_pad */
  VLM_IMAGE_ZOOM,        /* FlexAttention: padded, cut in zoom x zoom tiles, and
                            a base tile shrunk from them */
} VlmImageMode;

typedef struct {
  VlmImageMode mode;
  gboolean do_rescale, do_normalize;
  double mean[3], std[3]; /* R, G, B */
  double rescale;         /* usually 1/255 */
  int n_pinpoints;
  int pinpoint[VLM_MAX_PINPOINTS][2]; /* (height, width), order decides ties */
} VlmImageConfig;

/* FlexAttention: the picture is seen a second time, `ratio` times finer, and
 * hierarchical layers attend to the parts of it that the layer before attends
 * to most. */
typedef struct {
  int ratio;     /* fine tiles along a side; 0: not this family */
  int layer;     /* the first hierarchical one */
  int threshold; /* of the map's values, 0 to 255 */
} VlmZoom;

/* generation_config.json over transformers' defaults. */
typedef struct {
  gboolean do_sample;
  double temperature, top_p, repetition_penalty;
  int top_k;
  int n_eos;
  int eos[VLM_MAX_EOS]; /* of the first place that names one: generation
                           config, top level, text config, class default */
} VlmGenerationConfig;

/* Settings that are not followed, each worth a warning. */
typedef enum {
  VLM_QUIRK_BEAMS = 1 << 0,       /* num_beams above 1 */
  VLM_QUIRK_TOKEN_COUNT = 1 << 1, /* the processor counts image tokens
                                     otherwise than the model */
} VlmQuirks;

typedef struct VlmFamily VlmFamily;

typedef struct {
  const VlmFamily *family;
  gboolean original; /* as LLaVA's own repository writes folders */
  unsigned quirks;   /* VlmQuirks */
  VlmVisionConfig vision;
  VlmTextConfig text;
  VlmImageConfig image;
  VlmZoom zoom;
  VlmGenerationConfig generation;
  VlmActivation projector_activation;
  gboolean projector_bias;
  int n_feature_layers;
  int feature_layer[VLM_MAX_FEATURE_LAYERS]; /* hidden state 0..L, resolved */
  gboolean keep_class_token;                 /* select strategy "full" */
  gboolean newline;                          /* has image_newline */
  int image_token; /* config's placeholder id; -1: it has none */
} VlmConfig;

/* What one of transformers' image processor classes does to a picture. */
typedef struct {
  const char *type; /* class name without "Fast" or "Pil" */
  VlmImageMode mode;
  VlmImageMode padded; /* with do_pad */
} VlmImageProcessor;

/* A family of checkpoints: one constant each, in a list (model.c). */
struct VlmFamily {
  const char *model_type;         /* config.json's */
  const char *blurb;              /* one sentence for people */
  gboolean tiles;                 /* anyres tiles and newlines */
  gboolean zooms;                 /* hierarchical layers; known by config.json's
                                     `extra`, not by model_type */
  VlmImageProcessor processor[3]; /* those that fit it, the default first */
};

/* NULL-terminated. */
extern const VlmFamily *const vlm_families[];

typedef struct {
  char *folder; /* canonical path */
  char *name;   /* last part of it */
  VlmConfig config;
  VlmWeights *weights;
  char *chat_template; /* Jinja source, or NULL if the folder has none */
  const char *chat_template_file; /* base name of where it stands */
  char *tokenizer; /* bytes of the file, checked when they are used */
  gsize tokenizer_length;
  const char *tokenizer_file; /* "tokenizer.json", or "tokenizer.model" */
  char *token_texts[VLM_N_TOKEN_TEXTS]; /* of the latter, or NULL */
  int add_bos, add_eos; /* tokenizer_config.json: 1, 0, or -1 when absent */
  char *bos_token, *eos_token; /* strings for the template, or NULL */
} VlmModel;

/* Reads and checks a folder: every JSON file, every tensor header, every
 * shape. Cheap: no weight is read. */
VlmModel *vlm_model_open (const char *folder, GError **error);

/* The same of a folder without a vision tower, which is in another one (NULL:
 * in this). */
VlmModel *vlm_model_open_with_tower (
    const char *folder, const char *tower, GError **error);
void vlm_model_free (VlmModel *model);

/* The texts of a folder's files, each but the first NULL where there is none;
 * names begin messages. */
typedef struct {
  const char *config, *generation, *preprocessor, *processor;
  /* of the vision tower's folder, if it is another */
  const char *tower_name, *tower_config, *tower_preprocessor;
} VlmConfigTexts;

/* Parses texts into *config. Touches no file. Clear with vlm_config_clear. */
gboolean vlm_config_parse (VlmConfig *config, const char *name,
    const VlmConfigTexts *texts, GError **error);
void vlm_config_clear (VlmConfig *config);

/* Inverse frequencies [head_width/2] of a sequence that is `length` tokens
 * long when complete (only the dynamic kind looks at it), and the factor on
 * cos and sin. Source: transformers' modeling_rope_utils.py. */
void vlm_rope_frequencies (
    const VlmTextConfig *text, int length, float *inv_freq, float *scale);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmModel, vlm_model_free)

G_END_DECLS
