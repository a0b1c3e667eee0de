/* rope.c - rotary frequencies against those of transformers
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Numbers: ROPE_INIT_FUNCTIONS and LlamaRotaryEmbedding of transformers 5.23
 * with torch on the CPU, from the settings given with each row.
 */
#include "engine/model.h"

#include <math.h>

typedef struct {
  const char *name;
  const char *text_config; /* what is in the braces */
  int length;              /* of the sequence */
  float scale;
  int n;
  float inv_freq[64];
} Case;

static const Case cases[] = {
  { "default-128",
      "\"hidden_size\":256,\"num_attention_heads\":2,\"head_dim\":128,\"rope_"
      "parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0}",
      1, 1.0f, 64,
      { 1, 0.865964353f, 0.749894202f, 0.649381638f, 0.562341332f, 0.486967534f,
          0.421696514f, 0.365174145f, 0.316227764f, 0.273841977f, 0.237137362f,
          0.2053525f, 0.177827939f, 0.153992653f, 0.133352146f, 0.115478203f,
          0.100000001f, 0.0865964293f, 0.0749894157f, 0.0649381652f,
          0.0562341288f, 0.0486967526f, 0.0421696492f, 0.0365174115f,
          0.0316227786f, 0.0273841955f, 0.0237137359f, 0.0205352511f,
          0.0177827943f, 0.0153992651f, 0.0133352149f, 0.0115478197f,
          0.00999999978f, 0.00865964312f, 0.00749894232f, 0.00649381662f,
          0.00562341325f, 0.00486967526f, 0.00421696482f, 0.00365174143f,
          0.00316227786f, 0.00273841969f, 0.00237137382f, 0.00205352507f,
          0.00177827943f, 0.00153992651f, 0.00133352145f, 0.00115478202f,
          0.00100000005f, 0.000865964335f, 0.000749894185f, 0.000649381662f,
          0.000562341302f, 0.000486967503f, 0.000421696488f, 0.000365174114f,
          0.000316227786f, 0.000273841957f, 0.000237137385f, 0.000205352495f,
          0.00017782794f, 0.000153992645f, 0.00013335215f, 0.000115478193f } },
  { "default-64",
      "\"hidden_size\":128,\"num_attention_heads\":2,\"head_dim\":64,\"rope_"
      "parameters\":{\"rope_type\":\"default\",\"rope_theta\":1000000.0}",
      1, 1.0f, 32,
      { 1, 0.649381638f, 0.421696514f, 0.273841977f, 0.177827939f, 0.115478203f,
          0.0749894157f, 0.0486967526f, 0.0316227786f, 0.0205352511f,
          0.0133352149f, 0.00865964312f, 0.00562341325f, 0.00365174143f,
          0.00237137382f, 0.00153992651f, 0.00100000005f, 0.000649381662f,
          0.000421696488f, 0.000273841957f, 0.00017782794f, 0.000115478193f,
          7.49894243e-05f, 4.86967547e-05f, 3.16227743e-05f, 2.05352499e-05f,
          1.33352141e-05f, 8.65964375e-06f, 5.62341347e-06f, 3.65174128e-06f,
          2.37137374e-06f, 1.53992653e-06f } },
  { "linear",
      "\"hidden_size\":64,\"num_attention_heads\":2,\"head_dim\":32,\"rope_"
      "parameters\":{\"rope_type\":\"linear\",\"rope_theta\":10000.0,"
      "\"factor\":4.0}",
      1, 1.0f, 16,
      { 0.25f, 0.140585333f, 0.079056941f, 0.0444569848f, 0.0250000004f,
          0.0140585322f, 0.00790569466f, 0.00444569858f, 0.00249999994f,
          0.00140585331f, 0.000790569466f, 0.000444569858f, 0.000250000012f,
          0.000140585325f, 7.90569466e-05f, 4.44569851e-05f } },
  { "dynamic-short",
      "\"hidden_size\":64,\"num_attention_heads\":2,\"head_dim\":32,\"max_"
      "position_embeddings\":2048,\"rope_parameters\":{\"rope_type\":"
      "\"dynamic\",\"rope_theta\":10000.0,\"factor\":2.0}",
      1000, 1.0f, 16,
      { 1, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f,
          0.0562341288f, 0.0316227786f, 0.0177827943f, 0.00999999978f,
          0.00562341325f, 0.00316227786f, 0.00177827943f, 0.00100000005f,
          0.000562341302f, 0.000316227786f, 0.00017782794f } },
  { "dynamic-long",
      "\"hidden_size\":64,\"num_attention_heads\":2,\"head_dim\":32,\"max_"
      "position_embeddings\":2048,\"rope_parameters\":{\"rope_type\":"
      "\"dynamic\",\"rope_theta\":10000.0,\"factor\":2.0}",
      5000, 1.0f, 16,
      { 1, 0.513716578f, 0.263904721f, 0.135572225f, 0.0696456954f,
          0.0357781462f, 0.018379828f, 0.00944202114f, 0.00485052308f,
          0.00249179406f, 0.00128007587f, 0.000657596218f, 0.000337818055f,
          0.000173542736f, 8.91517775e-05f, 4.57987444e-05f } },
  { "llama3-small",
      "\"hidden_size\":32,\"num_attention_heads\":2,\"head_dim\":16,\"max_"
      "position_embeddings\":4096,\"rope_parameters\":{\"rope_type\":"
      "\"llama3\",\"rope_theta\":10000.0,\"factor\":4.0,\"low_freq_factor\":1."
      "0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":512}",
      1, 1.0f, 8,
      { 1, 0.316227764f, 0.100000001f, 0.0203718338f, 0.00249999994f,
          0.000790569466f, 0.000250000012f, 7.90569466e-05f } },
  { "llama3",
      "\"hidden_size\":128,\"num_attention_heads\":2,\"head_dim\":64,\"max_"
      "position_embeddings\":131072,\"rope_parameters\":{\"rope_type\":"
      "\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0,\"low_freq_factor\":1."
      "0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}",
      1, 1.0f, 32,
      { 1, 0.663601279f, 0.440366626f, 0.292227834f, 0.193922758f, 0.128687382f,
          0.0853971019f, 0.0566696189f, 0.0376060307f, 0.0249554086f,
          0.0165604409f, 0.0109895291f, 0.00729266508f, 0.00483942125f,
          0.00321144611f, 0.00137189368f, 0.000524846022f, 0.000178507791f,
          7.78465546e-05f, 5.16590699e-05f, 3.42810235e-05f, 2.2748929e-05f,
          1.50962178e-05f, 1.00178686e-05f, 6.64786967e-06f, 4.41153452e-06f,
          2.92749974e-06f, 1.94269251e-06f, 1.28917316e-06f, 8.55496921e-07f,
          5.6770881e-07f, 3.7673226e-07f } },
  { "yarn",
      "\"hidden_size\":128,\"num_attention_heads\":2,\"head_dim\":64,\"max_"
      "position_embeddings\":32768,\"rope_parameters\":{\"rope_type\":\"yarn\","
      "\"rope_theta\":1000000.0,\"factor\":4.0,\"original_max_position_"
      "embeddings\":8192}",
      1, 1.138629436111989f, 32,
      { 1, 0.649381638f, 0.421696514f, 0.273841977f, 0.177827939f, 0.115478203f,
          0.0749894157f, 0.0486967526f, 0.0316227786f, 0.0188239813f,
          0.0111126788f, 0.00649473211f, 0.00374894217f, 0.00213018246f,
          0.00118568679f, 0.000641636027f, 0.000333333359f, 0.000162345415f,
          0.000105424122f, 6.84604893e-05f, 4.44569851e-05f, 2.88695483e-05f,
          1.87473561e-05f, 1.21741887e-05f, 7.90569356e-06f, 5.13381246e-06f,
          3.33380353e-06f, 2.16491094e-06f, 1.40585337e-06f, 9.1293532e-07f,
          5.92843435e-07f, 3.84981632e-07f } },
  { "yarn-mscale",
      "\"hidden_size\":128,\"num_attention_heads\":2,\"head_dim\":64,\"max_"
      "position_embeddings\":32768,\"rope_parameters\":{\"rope_type\":\"yarn\","
      "\"rope_theta\":10000.0,\"factor\":40.0,\"original_max_position_"
      "embeddings\":4096,\"mscale\":0.7,\"mscale_all_dim\":1.0,\"beta_fast\":"
      "16,\"beta_slow\":2,\"truncate\":false}",
      1, 0.9191559952044436f, 32,
      { 1, 0.749894202f, 0.562341332f, 0.421696514f, 0.316227764f, 0.237137362f,
          0.177827939f, 0.133352146f, 0.100000001f, 0.0749894157f,
          0.0562341288f, 0.0421696492f, 0.0316227786f, 0.0233312435f,
          0.0150961196f, 0.00952086132f, 0.00579010462f, 0.00332995923f,
          0.00173821871f, 0.000734386675f, 0.000123952457f, 5.92843462e-05f,
          4.44569851e-05f, 3.3338034e-05f, 2.49999994e-05f, 1.87473543e-05f,
          1.40585325e-05f, 1.05424124e-05f, 7.90569447e-06f, 5.92843435e-06f,
          4.44569832e-06f, 3.33380353e-06f } },
};

static void
assert_near (float found, float expected)
{
  g_assert_cmpfloat (fabsf (found - expected), <=, 3e-7f * expected);
}

static void
test_case (gconstpointer data)
{
  const Case *c = data;
  g_autofree char *json = g_strdup_printf (
      "{\"model_type\":\"llava\",\"text_config\":{%s}}", c->text_config);
  g_autoptr (GError) error = NULL;
  VlmConfig config;
  float inv_freq[64], scale;

  vlm_config_parse (&config, "x", &(VlmConfigTexts){ json }, &error);
  g_assert_no_error (error);
  g_assert_cmpint (config.text.head_width, ==, 2 * c->n);
  vlm_rope_frequencies (&config.text, c->length, inv_freq, &scale);
  assert_near (scale, c->scale);
  for (int i = 0; i < c->n; i++)
    assert_near (inv_freq[i], c->inv_freq[i]);
  vlm_config_clear (&config);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strconcat ("/rope/", cases[i].name, NULL);

    g_test_add_data_func (path, &cases[i], test_case);
  }
  return g_test_run ();
}
