/* flex-engine.c - the whole engine over a FlexAttention folder
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Texts are those of the goldens, also when several pictures are described
 * together, what the layers looked at is reported, and what does not go with
 * such a model is refused with a sentence.
 */
#include <json-glib/json-glib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/fine.h"
#include "tests/golden-load.h"

#define N_CASES 3
#define FINE_LAYERS 3 /* in both folders */

typedef struct {
  GoldenPicture picture;
  guint8 *pixels; /* owned */
  char *question; /* owned */
  int ids[16], n_ids;
  double fine_tokens;          /* by the golden's lit cells */
  const char *policy, *system; /* asked for, or NULL */
  VlmDecodeAttention attention;
  /* what came of it */
  int found[16], n_found, layer_tokens[FINE_LAYERS], n_layers, image_tokens;
  double found_fine;
  char *policy_used;
  GError *error;
} Ask;

static char *folder;
static JsonParser *goldens;
static int side, fine_side;

/* The folder of the tests that follow. */
static void
use (const char *name, int g, int zoom)
{
  g_autofree char *json = NULL;

  g_free (folder);
  g_clear_object (&goldens);
  folder = g_test_build_filename (G_TEST_DIST, "golden-flex", name, NULL);
  json = g_build_filename (folder, "golden.json", NULL);
  goldens = json_parser_new ();
  g_assert_true (json_parser_load_from_file (goldens, json, NULL));
  side = g;
  fine_side = zoom * g;
}

static double
mean_lit (JsonArray *steps)
{
  double sum = 0;
  int n = json_array_get_length (steps);

  for (int s = 0; s < n; s++)
    for (int l = 0; l < FINE_LAYERS; l++) {
      JsonArray *cells = json_array_get_array_element (
          json_array_get_array_element (steps, s), l);

      for (guint k = 0; k < json_array_get_length (cells); k++)
        sum +=
            vlm_fine_cell (fine_side, json_array_get_int_element (cells, k)).n;
    }
  return sum / n / FINE_LAYERS;
}

static void
ask_init (Ask *ask, int i)
{
  JsonObject *root = json_node_get_object (json_parser_get_root (goldens));
  JsonObject *c = json_array_get_object_element (
      json_object_get_array_member (root, "cases"), i);
  JsonArray *ids = json_object_get_array_member (c, "ids");

  *ask = (Ask){ 0 };
  ask->picture = (GoldenPicture){ json_object_get_int_member (c, "width"),
    json_object_get_int_member (c, "height"),
    json_object_get_int_member (c, "seed"), { 0 }, 0 };
  ask->pixels = golden_draw (&ask->picture);
  ask->question = g_strdup (json_object_get_string_member (c, "question"));
  ask->n_ids = json_array_get_length (ids);
  for (int k = 0; k < ask->n_ids; k++)
    ask->ids[k] = json_array_get_int_element (ids, k);
  ask->fine_tokens = mean_lit (json_object_get_array_member (c, "lit"));
}

static void
ask_clear (Ask *ask)
{
  g_free (ask->pixels);
  g_free (ask->question);
  g_free (ask->policy_used);
  g_clear_error (&ask->error);
}

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  Ask *ask = user_data;

  task->picture = (VlmPicture){ ask->pixels, ask->picture.width,
    ask->picture.height, (gsize) ask->picture.width * 3, 1, 1 };
  task->settings.prompt = g_strdup (ask->question);
  task->settings.system_prompt = g_strdup (ask->system);
  task->settings.max_tokens = ask->n_ids;
  task->settings.detail = TRUE;
  task->settings.decode_attention = ask->attention;
  if (ask->policy)
    vlm_settings_set_policy (&task->settings, vlm_policy_find (ask->policy));
  return TRUE;
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Ask *ask = user_data;

  if (error) {
    ask->error = g_error_copy (error);
    return;
  }
  ask->n_found = result->tokens;
  memcpy (ask->found, result->token_ids, result->tokens * sizeof (int));
  ask->found_fine = result->fine_tokens;
  ask->n_layers = result->n_fine_layers;
  memcpy (
      ask->layer_tokens, result->layer_fine_tokens, sizeof ask->layer_tokens);
  ask->policy_used = g_strdup (result->policy);
  ask->image_tokens = result->image_tokens_kept;
}

static const VlmRequestFuncs funcs = { .fetch = on_fetch, .done = on_done };

static void
assert_answered (const Ask *ask)
{
  double sum = 0;

  g_assert_no_error (ask->error);
  g_assert_cmpmem (ask->found, ask->n_found * sizeof (int), ask->ids,
      ask->n_ids * sizeof (int));
  g_assert_cmpstr (ask->policy_used, ==, "all");
  g_assert_cmpint (ask->image_tokens, ==, side * side);
  g_assert_cmpfloat_with_epsilon (ask->found_fine, ask->fine_tokens, 1e-6);
  g_assert_cmpint (ask->n_layers, ==, FINE_LAYERS);
  for (int l = 0; l < FINE_LAYERS; l++)
    sum += ask->layer_tokens[l];
  g_assert_cmpfloat_with_epsilon (sum / FINE_LAYERS, ask->fine_tokens, 1);
}

static VlmEngine *
open_engine (void)
{
  g_autoptr (GError) error = NULL;
  VlmEngine *engine = vlm_engine_open (
      &(VlmOpenOptions){ .path = folder, .device = "cpu" }, &error);

  g_assert_no_error (error);
  return engine;
}

/* Three streams at once, each with its own picture; then one after another,
 * where nothing of the one before may be left. */
static void
check_answers (void)
{
  g_autoptr (VlmEngine) engine = open_engine ();
  VlmStream *streams[N_CASES];
  Ask together[N_CASES], alone[2 * N_CASES];

  for (int i = 0; i < N_CASES; i++) {
    ask_init (&together[i], i);
    streams[i] = vlm_stream_new (engine);
    vlm_stream_submit (streams[i], &funcs, &together[i]);
  }
  for (int i = 0; i < N_CASES; i++)
    vlm_stream_drain (streams[i]);
  for (int i = 0; i < 2 * N_CASES; i++) {
    ask_init (&alone[i], i % N_CASES);
    vlm_stream_submit (streams[0], &funcs, &alone[i]);
  }
  vlm_stream_drain (streams[0]);
  for (int i = 0; i < N_CASES; i++) {
    assert_answered (&together[i]);
    assert_answered (&alone[i]);
    assert_answered (&alone[N_CASES + i]);
    ask_clear (&together[i]);
    ask_clear (&alone[i]);
    ask_clear (&alone[N_CASES + i]);
    vlm_stream_free (streams[i]);
  }
}

static void
test_answers (void)
{
  use ("mha", 24, 3);
  check_answers ();
}

/* Cells that are no whole pages: lists of keys, each sequence's its own. */
static void
test_ragged (void)
{
  use ("ragged", 8, 2);
  check_answers ();
}

/* Each picture turns its fine keys by its own place in its prompt; the release
 * takes the first one's for a whole batch. */
static void
test_places (void)
{
  use ("mha", 24, 3);
  g_autoptr (VlmEngine) engine = open_engine ();
  VlmStream *streams[2] = { vlm_stream_new (engine), vlm_stream_new (engine) };
  Ask ask[4];

  for (int i = 0; i < 4; i++) {
    ask_init (&ask[i], i % 2);
    ask[i].system = i % 2 ? "Be short." : NULL;
  }
  for (int i = 0; i < 2; i++)
    vlm_stream_submit (streams[i], &funcs, &ask[i]);
  for (int i = 0; i < 2; i++)
    vlm_stream_drain (streams[i]);
  vlm_stream_submit (streams[0], &funcs, &ask[3]);
  vlm_stream_drain (streams[0]);
  assert_answered (&ask[0]);
  g_assert_no_error (ask[1].error);
  g_assert_cmpmem (ask[1].found, ask[1].n_found * sizeof (int), ask[3].found,
      ask[3].n_found * sizeof (int));
  g_assert_cmpfloat (ask[1].found_fine, ==, ask[3].found_fine);
  for (int i = 0; i < 4; i++)
    ask_clear (&ask[i]);
  for (int i = 0; i < 2; i++)
    vlm_stream_free (streams[i]);
}

static void
test_refused (void)
{
  use ("mha", 24, 3);
  g_autoptr (VlmEngine) engine = open_engine ();
  VlmStream *stream = vlm_stream_new (engine);
  Ask ask[3];

  for (int i = 0; i < 3; i++)
    ask_init (&ask[i], 0);
  ask[0].policy = "hired";
  ask[1].attention = VLM_DECODE_TIDAL;
  ask[2].policy = "all";
  for (int i = 0; i < 3; i++)
    vlm_stream_submit (stream, &funcs, &ask[i]);
  vlm_stream_drain (stream);
  g_assert_error (ask[0].error, VLM_ERROR, VLM_ERROR_SETTINGS);
  g_assert_cmpstr (ask[0].error->message, ==,
      "mha is a FlexAttention model, whose layers look closer instead of "
      "seeing less: the policy \"all\" was expected, not \"hired\".");
  g_assert_error (ask[1].error, VLM_ERROR, VLM_ERROR_SETTINGS);
  g_assert_nonnull (strstr (ask[1].error->message, "full decode attention"));
  assert_answered (&ask[2]);
  for (int i = 0; i < 3; i++)
    ask_clear (&ask[i]);
  vlm_stream_free (stream);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/flex-engine/answers", test_answers);
  g_test_add_func ("/flex-engine/ragged", test_ragged);
  g_test_add_func ("/flex-engine/places", test_places);
  g_test_add_func ("/flex-engine/refused", test_refused);
  status = g_test_run ();
  g_clear_object (&goldens);
  g_free (folder);
  return status;
}
