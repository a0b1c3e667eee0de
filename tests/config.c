/* config.c - config.json and its companions: defaults, spellings, refusals
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/model.h"

#include <string.h>

#include "engine/error.h"

static void
parse (VlmConfig *config, const char *top, const char *generation,
    const char *preprocessor, const char *processor)
{
  g_autoptr (GError) error = NULL;

  vlm_config_parse (config, "m",
      &(VlmConfigTexts){ top, generation, preprocessor, processor }, &error);
  g_assert_no_error (error);
}

static VlmTextConfig
parse_text (const char *members)
{
  g_autofree char *json = g_strdup_printf (
      "{\"model_type\":\"llava\",\"text_config\":{%s}}", members);
  VlmConfig config;

  parse (&config, json, NULL, NULL, NULL);
  return config.text;
}

/* An empty LLaVA-NeXT is one of CLIP ViT-L/14 at 336 and Llama 7B. */
static void
test_defaults (void)
{
  VlmConfig c;

  parse (&c, "{\"model_type\":\"llava_next\"}", NULL, NULL, NULL);
  g_assert_true (c.family->tiles && c.newline && !c.keep_class_token);
  g_assert_cmpint (c.vision.width, ==, 1024);
  g_assert_cmpint (c.vision.hidden, ==, 4096);
  g_assert_cmpint (c.vision.layers, ==, 24);
  g_assert_cmpint (c.vision.heads, ==, 16);
  g_assert_cmpint (c.vision.side, ==, 24);
  g_assert_cmpint (c.vision.n_patches, ==, 576);
  g_assert_cmpint (c.vision.activation, ==, VLM_ACT_QUICK_GELU);
  g_assert_cmpfloat (c.vision.eps, ==, 1e-5f);
  g_assert_cmpint (c.n_feature_layers, ==, 1);
  g_assert_cmpint (c.feature_layer[0], ==, 23);
  g_assert_cmpint (c.projector_activation, ==, VLM_ACT_GELU);
  g_assert_true (c.projector_bias);
  g_assert_cmpint (c.image_token, ==, 32000);
  g_assert_cmpint (c.image.mode, ==, VLM_IMAGE_ANYRES);
  g_assert_cmpint (c.image.n_pinpoints, ==, 5);
  g_assert_cmpint (c.image.pinpoint[3][0], ==, 1008);
  g_assert_cmpfloat (c.image.rescale, ==, 1 / 255.0);
  g_assert_cmpfloat (c.image.std[2], ==, 0.27577711);
  g_assert_cmpint (c.text.kind, ==, VLM_TEXT_LLAMA);
  g_assert_cmpint (c.text.vocab, ==, 32000);
  g_assert_cmpint (c.text.hidden, ==, 11008);
  g_assert_cmpint (c.text.kv_heads, ==, 32);
  g_assert_cmpint (c.text.head_width, ==, 128);
  g_assert_cmpint (c.text.max_position, ==, 2048);
  g_assert_cmpint (c.text.window[0], ==, 0);
  g_assert_cmpfloat (c.text.eps, ==, 1e-6f);
  g_assert_cmpfloat (c.text.rope.theta, ==, 10000);
  g_assert_false (c.generation.do_sample);
  g_assert_cmpint (c.generation.top_k, ==, 50);
  g_assert_cmpint (c.generation.n_eos, ==, 1);
  g_assert_cmpint (c.generation.eos[0], ==, 2);
  vlm_config_clear (&c);
}

static void
test_text_kinds (void)
{
  VlmTextConfig t = parse_text ("\"model_type\":\"mistral\"");

  g_assert_cmpint (t.hidden, ==, 14336);
  g_assert_cmpint (t.kv_heads, ==, 8);
  g_assert_cmpint (t.max_position, ==, 131072);
  g_assert_cmpint (t.window[31], ==, 4096);
  g_assert_false (t.qkv_bias);
  g_free (t.window);

  t = parse_text ("\"model_type\":\"mistral\",\"sliding_window\":null,"
                  "\"num_key_value_heads\":null,\"rope_theta\":1000000.0");
  g_assert_cmpint (t.window[0], ==, 0);
  g_assert_cmpint (t.kv_heads, ==, 32);
  g_assert_cmpfloat (t.rope.theta, ==, 1e6);
  g_free (t.window);

  t = parse_text ("\"model_type\":\"qwen2\"");
  g_assert_cmpint (t.vocab, ==, 151936);
  g_assert_cmpint (t.hidden, ==, 22016);
  g_assert_true (t.qkv_bias && !t.o_bias);
  g_assert_cmpint (t.window[31], ==, 0);
  g_free (t.window);

  t = parse_text ("\"attention_bias\":true,\"mlp_bias\":true,"
                  "\"hidden_act\":\"swish\",\"head_dim\":64");
  g_assert_true (t.qkv_bias && t.o_bias && t.mlp_bias);
  g_assert_cmpint (t.head_width, ==, 64);
  g_free (t.window);
}

static void
test_windows (void)
{
  VlmTextConfig t =
      parse_text ("\"model_type\":\"qwen2\",\"use_sliding_window\":true,"
                  "\"sliding_window\":48,\"max_window_layers\":30");

  g_assert_cmpint (t.window[29], ==, 0);
  g_assert_cmpint (t.window[30], ==, 48);
  g_free (t.window);

  t = parse_text (
      "\"model_type\":\"qwen2\",\"use_sliding_window\":true,"
      "\"num_hidden_layers\":3,\"layer_types\":[\"sliding_attention\","
      "\"full_attention\",\"sliding_attention\"]");
  g_assert_cmpint (t.window[0], ==, 4096);
  g_assert_cmpint (t.window[1], ==, 0);
  g_assert_cmpint (t.window[2], ==, 4096);
  g_free (t.window);
}

static void
test_rope_spellings (void)
{
  VlmTextConfig t =
      parse_text ("\"rope_theta\":500,\"rope_scaling\":{\"type\":\"linear\","
                  "\"factor\":2}");

  g_assert_cmpint (t.rope.kind, ==, VLM_ROPE_LINEAR);
  g_assert_cmpfloat (t.rope.theta, ==, 500);
  g_free (t.window);

  t = parse_text ("\"rope_theta\":500,\"rope_scaling\":{},"
                  "\"rope_parameters\":{\"rope_type\":\"dynamic\","
                  "\"factor\":3,\"rope_theta\":700}");
  g_assert_cmpint (t.rope.kind, ==, VLM_ROPE_DYNAMIC);
  g_assert_cmpfloat (t.rope.theta, ==, 700);
  g_assert_cmpint (t.rope.original_max_position, ==, 2048);
  g_free (t.window);

  t = parse_text ("\"rope_scaling\":null,\"rope_parameters\":null");
  g_assert_cmpint (t.rope.kind, ==, VLM_ROPE_DEFAULT);
  g_free (t.window);
}

static void
test_feature_layers (void)
{
  VlmConfig c;

  parse (&c,
      "{\"model_type\":\"llava\",\"vision_feature_layer\":[-4,-2,5,24],"
      "\"vision_feature_select_strategy\":\"full\","
      "\"projector_hidden_act\":\"quick_gelu\",\"image_token_id\":7,"
      "\"multimodal_projector_bias\":false}",
      NULL, NULL, NULL);
  g_assert_cmpint (c.n_feature_layers, ==, 4);
  g_assert_cmpint (c.feature_layer[0], ==, 21);
  g_assert_cmpint (c.feature_layer[1], ==, 23);
  g_assert_cmpint (c.feature_layer[2], ==, 5);
  g_assert_cmpint (c.feature_layer[3], ==, 24);
  g_assert_true (c.keep_class_token && !c.newline && !c.projector_bias);
  g_assert_cmpint (c.projector_activation, ==, VLM_ACT_QUICK_GELU);
  g_assert_cmpint (c.image_token, ==, 7);
  vlm_config_clear (&c);
}

static VlmImageConfig
parse_image (const char *preprocessor, const char *processor)
{
  VlmConfig c;

  parse (&c, "{\"model_type\":\"llava\"}", NULL, preprocessor, processor);
  vlm_config_clear (&c);
  return c.image;
}

static void
test_image_processors (void)
{
  static const char clip[] =
      "{\"image_processor_type\":\"CLIPImageProcessorFast\",\"size\":336,"
      "\"crop_size\":{\"height\":336,\"width\":336},\"do_pad\":true}";
  static const char llava[] =
      "{\"image_processor_type\":\"LlavaImageProcessorPil\",\"do_pad\":true,"
      "\"size\":{\"shortest_edge\":336},\"crop_size\":336,"
      "\"image_mean\":[0.5,0.25,0],\"image_std\":2,\"rescale_factor\":0.5}";
  g_autofree char *nested = g_strdup_printf ("{\"image_processor\":%s}", llava);
  VlmImageConfig image = parse_image (NULL, NULL);

  g_assert_cmpint (image.mode, ==, VLM_IMAGE_CENTRE_CROP);
  image = parse_image (clip, NULL);
  g_assert_cmpint (image.mode, ==, VLM_IMAGE_CENTRE_CROP);
  image = parse_image (clip, nested);
  g_assert_cmpint (image.mode, ==, VLM_IMAGE_PAD_SQUARE);
  g_assert_cmpfloat (image.mean[1], ==, 0.25);
  g_assert_cmpfloat (image.std[2], ==, 2);
  g_assert_cmpfloat (image.rescale, ==, 0.5);
  image = parse_image ("{\"size\":336,\"crop_size\":336,\"do_normalize\":"
                       "false,\"do_rescale\":false}",
      NULL);
  g_assert_false (image.do_normalize);
  g_assert_false (image.do_rescale);
  g_assert_cmpfloat (image.rescale, ==, 1 / 255.0);
}

static VlmGenerationConfig
parse_generation (const char *top, const char *generation)
{
  g_autofree char *json = g_strdup_printf ("{\"model_type\":\"llava\"%s}", top);
  VlmConfig c;

  parse (&c, json, generation, NULL, NULL);
  vlm_config_clear (&c);
  return c.generation;
}

static void
test_generation (void)
{
  VlmGenerationConfig g = parse_generation ("",
      "{\"do_sample\":true,\"temperature\":0.2,\"top_p\":0.9,\"top_k\":null,"
      "\"repetition_penalty\":1.1,\"eos_token_id\":[5,6],\"num_beams\":1}");

  g_assert_true (g.do_sample);
  g_assert_cmpfloat (g.temperature, ==, 0.2);
  g_assert_cmpfloat (g.repetition_penalty, ==, 1.1);
  g_assert_cmpint (g.top_k, ==, 50);
  g_assert_cmpint (g.n_eos, ==, 2);
  g_assert_cmpint (g.eos[1], ==, 6);
  g = parse_generation (",\"text_config\":{\"eos_token_id\":9}", "{}");
  g_assert_cmpint (g.n_eos, ==, 1);
  g_assert_cmpint (g.eos[0], ==, 9);
  g = parse_generation (
      ",\"eos_token_id\":4,\"text_config\":{\"eos_token_id\":9}", NULL);
  g_assert_cmpint (g.eos[0], ==, 4);
  g = parse_generation (",\"text_config\":{\"model_type\":\"qwen2\"}", NULL);
  g_assert_cmpint (g.n_eos, ==, 0);
}

/* A family, its members, the processor's; the code and a word of the message.
 */
static const struct {
  const char *family, *members, *processor;
  int code;
  const char *needle;
} refused[] = {
  { "llava_onevision", "", NULL, VLM_ERROR_WRONG_TYPE,
      "model_type is \"llava_onevision\", but \"llava_next\" or \"llava\"" },
  { "llava", ",\"vision_config\":3", NULL, VLM_ERROR_DATA,
      "vision_config is 3" },
  { "llava", ",\"vision_config\":{\"model_type\":\"siglip_vision_model\"}",
      NULL, VLM_ERROR_WRONG_TYPE, "siglip_vision_model" },
  { "llava", ",\"vision_config\":{\"num_channels\":1}", NULL,
      VLM_ERROR_WRONG_TYPE, "num_channels is 1" },
  { "llava", ",\"vision_config\":{\"hidden_size\":0}", NULL, VLM_ERROR_DATA,
      "vision_config.hidden_size is 0" },
  { "llava", ",\"vision_config\":{\"hidden_size\":1e99}", NULL, VLM_ERROR_DATA,
      "vision_config.hidden_size is" },
  { "llava", ",\"vision_config\":{\"num_attention_heads\":7}", NULL,
      VLM_ERROR_DATA, "vision_config.num_attention_heads is 7" },
  { "llava", ",\"vision_config\":{\"patch_size\":15}", NULL, VLM_ERROR_DATA,
      "vision_config.patch_size is 15" },
  { "llava", ",\"vision_config\":{\"image_size\":[224,112]}", NULL,
      VLM_ERROR_WRONG_TYPE, "a square size" },
  { "llava", ",\"vision_config\":{\"hidden_act\":\"mish\"}", NULL,
      VLM_ERROR_WRONG_TYPE, "vision_config.hidden_act is \"mish\"" },
  { "llava", ",\"projector_hidden_act\":\"gelu_new\"", NULL,
      VLM_ERROR_WRONG_TYPE, "projector_hidden_act is \"gelu_new\"" },
  { "llava", ",\"text_config\":{\"hidden_act\":\"gelu\"}", NULL,
      VLM_ERROR_WRONG_TYPE, "text_config.hidden_act is \"gelu\"" },
  { "llava", ",\"text_config\":{\"model_type\":\"gemma\"}", NULL,
      VLM_ERROR_WRONG_TYPE, "text_config.model_type is \"gemma\"" },
  { "llava", ",\"text_config\":{\"num_key_value_heads\":5}", NULL,
      VLM_ERROR_DATA, "text_config.num_key_value_heads is 5" },
  { "llava", ",\"text_config\":{\"num_attention_heads\":3}", NULL,
      VLM_ERROR_DATA, "a divisor of hidden_size 4096" },
  { "llava", ",\"text_config\":{\"head_dim\":33}", NULL, VLM_ERROR_DATA,
      "an even head width" },
  { "llava", ",\"text_config\":{\"head_dim\":512}", NULL, VLM_ERROR_DATA,
      "an even head width of at most 256" },
  { "llava", ",\"vision_config\":{\"num_attention_heads\":2}", NULL,
      VLM_ERROR_DATA, "heads of at most 256" },
  { "llava", ",\"text_config\":{\"hidden_size\":\"big\"}", NULL, VLM_ERROR_DATA,
      "text_config.hidden_size is \"big\"" },
  { "llava", ",\"text_config\":{\"rope_scaling\":{\"rope_type\":\"longrope\"}}",
      NULL, VLM_ERROR_WRONG_TYPE,
      "text_config.rope_scaling.rope_type is \"longrope\"" },
  { "llava", ",\"text_config\":{\"rope_scaling\":{\"type\":\"linear\"}}", NULL,
      VLM_ERROR_DATA, "rope_scaling.factor is missing" },
  { "llava",
      ",\"text_config\":{\"rope_parameters\":{\"rope_type\":\"llama3\","
      "\"factor\":8}}",
      NULL, VLM_ERROR_DATA, "low_freq_factor is missing" },
  { "llava",
      ",\"text_config\":{\"rope_parameters\":{\"partial_rotary_factor\":"
      "0.5}}",
      NULL, VLM_ERROR_WRONG_TYPE, "partial_rotary_factor is 0.5" },
  { "llava", ",\"text_config\":{\"partial_rotary_factor\":0.5}", NULL,
      VLM_ERROR_WRONG_TYPE, "text_config.partial_rotary_factor is 0.5" },
  { "llava", ",\"text_config\":{\"rope_parameters\":{\"full_attention\":{}}}",
      NULL, VLM_ERROR_WRONG_TYPE, "rope_parameters.full_attention is {}" },
  { "llava",
      ",\"text_config\":{\"model_type\":\"mistral\",\"sliding_window\":0}",
      NULL, VLM_ERROR_DATA, "sliding_window is 0" },
  { "llava",
      ",\"text_config\":{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,"
      "\"layer_types\":[\"sliding_attention\"]}",
      NULL, VLM_ERROR_WRONG_TYPE, "layer_types" },
  { "llava", ",\"vision_feature_layer\":25", NULL, VLM_ERROR_DATA,
      "vision_feature_layer is 25" },
  { "llava", ",\"vision_feature_layer\":[]", NULL, VLM_ERROR_DATA,
      "vision_feature_layer is []" },
  { "llava", ",\"vision_feature_select_strategy\":\"cls\"", NULL,
      VLM_ERROR_WRONG_TYPE, "is \"cls\"" },
  { "llava_next", ",\"vision_feature_select_strategy\":\"full\"", NULL,
      VLM_ERROR_WRONG_TYPE, "no place in a grid" },
  { "llava_next", ",\"image_grid_pinpoints\":[]", NULL, VLM_ERROR_DATA,
      "image_grid_pinpoints is []" },
  { "llava_next", ",\"image_grid_pinpoints\":[[2688,2688]]", NULL,
      VLM_ERROR_DATA, "of at most 63 tiles" },
  { "llava_next", ",\"image_grid_pinpoints\":[[336,700]]", NULL, VLM_ERROR_DATA,
      "multiples of vision_config.image_size 336" },
  { "llava_next", ",\"image_grid_pinpoints\":[[336,672]]",
      "{\"size\":336,\"crop_size\":336}", VLM_ERROR_DATA,
      "the same list as in config.json" },
  { "llava_next", "", "{\"size\":224,\"crop_size\":336}", VLM_ERROR_DATA,
      "size is 224, but a size that gives tiles of "
      "vision_config.image_size 336" },
  { "llava_next", "", "{\"size\":336}", VLM_ERROR_DATA,
      "crop_size is missing" },
  { "llava_next", "",
      "{\"size\":336,\"crop_size\":336,\"image_processor_type\":"
      "\"CLIPImageProcessor\"}",
      VLM_ERROR_WRONG_TYPE, "image_processor_type is" },
  { "llava", "", "{\"size\":{\"height\":336,\"width\":336},\"crop_size\":336}",
      VLM_ERROR_DATA, "size is {" },
  { "llava", "", "{\"size\":336,\"crop_size\":336,\"resample\":2}",
      VLM_ERROR_WRONG_TYPE, "3 (bicubic)" },
  { "llava", "", "{\"size\":336,\"crop_size\":336,\"image_std\":[1,0,1]}",
      VLM_ERROR_DATA, "image_std is [1,0,1]" },
  { "llava", "", "{\"size\":336,\"crop_size\":336,\"do_resize\":false}",
      VLM_ERROR_WRONG_TYPE, "do_resize is false" },
};

/* The sentence is made of them. */
static void
assert_details (const GError *error)
{
  const VlmErrorDetails *about = vlm_error_details (error);
  g_autofree char *sentence =
      g_strdup_printf ("%s: %s is %s, but %s was expected.", about->file,
          about->key, about->found, about->expected);

  g_assert_cmpstr (error->message, ==, sentence);
}

static void
test_refused (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autofree char *json = g_strdup_printf (
        "{\"model_type\":\"%s\"%s}", refused[i].family, refused[i].members);
    g_autoptr (GError) error = NULL;
    VlmConfig config;

    g_assert_false (vlm_config_parse (&config, "m",
        &(VlmConfigTexts){ json, .preprocessor = refused[i].processor },
        &error));
    g_test_message ("%s", error->message);
    g_assert_error (error, VLM_ERROR, refused[i].code);
    g_assert_nonnull (strstr (error->message, refused[i].needle));
    assert_details (error);
    g_assert_true (g_str_has_prefix (
        error->message, refused[i].processor ? "m/preprocessor_config.json: "
                                             : "m/config.json: "));
    g_assert_null (config.text.window);
  }
}

#define ORIGINAL(more)                                                         \
  "{\"model_type\":\"llava\",\"mm_projector_type\":\"mlp2x_gelu\"" more "}"
#define TOWER ",\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\""
#define PADDED TOWER ",\"image_aspect_ratio\":\"pad\""

/* LLaVA's own config.json: of 1.5 and, with its anyres, of 1.6. */
static void
test_original (void)
{
  VlmConfig c;

  parse (&c,
      ORIGINAL (PADDED ",\"rms_norm_eps\":1e-5,\"mm_use_im_start_end\":false,"
                       "\"mm_vision_select_layer\":-2"),
      NULL, NULL, NULL);
  g_assert_true (c.original && !c.family->tiles && !c.newline);
  g_assert_cmpint (c.vision.n_patches, ==, 576);
  g_assert_cmpint (c.feature_layer[0], ==, 23);
  g_assert_cmpint (c.image.mode, ==, VLM_IMAGE_PAD_SQUARE);
  g_assert_cmpint (c.text.kind, ==, VLM_TEXT_LLAMA);
  g_assert_cmpfloat (c.text.eps, ==, 1e-5f);
  g_assert_cmpint (c.image_token, ==, -1);
  vlm_config_clear (&c);

  parse (&c,
      "{\"model_type\":\"llava_mistral\",\"mm_projector_type\":\"mlp2x_gelu\","
      "\"mm_vision_tower\":\"/x/"
      "clip-vit-large-patch14\",\"image_aspect_ratio\":"
      "\"anyres\",\"mm_patch_merge_type\":\"spatial_unpad\","
      "\"image_grid_pinpoints\":[[224,448]],\"num_key_value_heads\":8,"
      "\"sliding_window\":null}",
      NULL, NULL, NULL);
  g_assert_true (c.original && c.family->tiles && c.newline);
  g_assert_cmpint (c.vision.image_size, ==, 224);
  g_assert_cmpint (c.vision.n_patches, ==, 256);
  g_assert_cmpint (c.text.kind, ==, VLM_TEXT_MISTRAL);
  g_assert_cmpint (c.image.n_pinpoints, ==, 1);
  vlm_config_clear (&c);
}

static const struct {
  const char *json;
  int code;
  const char *needle;
} refused_originals[] = {
  { ORIGINAL (",\"mm_vision_tower\":\"a/b\""), VLM_ERROR_WRONG_TYPE,
      "vision-tower-path" },
  { ORIGINAL (TOWER ",\"mm_use_im_start_end\":true"), VLM_ERROR_WRONG_TYPE,
      "mm_use_im_start_end is true" },
  { ORIGINAL (TOWER ",\"mm_vision_select_feature\":\"cls\""),
      VLM_ERROR_WRONG_TYPE, "\"cls_patch\"" },
  { ORIGINAL (TOWER ",\"image_aspect_ratio\":\"anyres\""), VLM_ERROR_WRONG_TYPE,
      "spatial_unpad" },
  { ORIGINAL (PADDED ",\"mm_patch_merge_type\":\"spatial_unpad\""),
      VLM_ERROR_WRONG_TYPE, "\"flat\"" },
  { "{\"model_type\":\"llava_mpt\"" TOWER "}", VLM_ERROR_WRONG_TYPE,
      "llava_mistral" },
  { "{\"model_type\":\"llava\"" TOWER "}", VLM_ERROR_WRONG_TYPE, "mlp2x_gelu" },
};

static void
test_refused_originals (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (refused_originals); i++) {
    g_autoptr (GError) error = NULL;
    VlmConfig config;

    g_assert_false (vlm_config_parse (
        &config, "m", &(VlmConfigTexts){ refused_originals[i].json }, &error));
    g_test_message ("%s", error->message);
    g_assert_error (error, VLM_ERROR, refused_originals[i].code);
    g_assert_nonnull (strstr (error->message, refused_originals[i].needle));
  }
}

static void
test_broken (void)
{
  static const char *const texts[] = { "", "{", "[]", "null", "{\"a\":}",
    "{}{}", "\xff", "{\"model_type\":\"llava\"", "{'model_type':'llava'}" };

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GError) error = NULL;
    VlmConfig config;

    g_assert_false (
        vlm_config_parse (&config, "m", &(VlmConfigTexts){ texts[i] }, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_DATA);
    g_assert_true (g_str_has_prefix (error->message, "m/config.json: "));
    g_clear_error (&error);
    g_assert_false (vlm_config_parse (&config, "m",
        &(VlmConfigTexts){ "{\"model_type\":\"llava\"}", texts[i] }, &error));
    g_assert_true (
        g_str_has_prefix (error->message, "m/generation_config.json: "));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/config/defaults", test_defaults);
  g_test_add_func ("/config/text-kinds", test_text_kinds);
  g_test_add_func ("/config/windows", test_windows);
  g_test_add_func ("/config/rope-spellings", test_rope_spellings);
  g_test_add_func ("/config/feature-layers", test_feature_layers);
  g_test_add_func ("/config/image-processors", test_image_processors);
  g_test_add_func ("/config/generation", test_generation);
  g_test_add_func ("/config/original", test_original);
  g_test_add_func ("/config/refused-originals", test_refused_originals);
  g_test_add_func ("/config/refused", test_refused);
  g_test_add_func ("/config/broken", test_broken);
  return g_test_run ();
}
