/* engine.c - the whole engine over a tiny random model
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Numbers are other tests' concern; here: the life of loads and requests on
 * the real networks, that a text depends on its own picture alone, and errors
 * as sentences.
 */
#include <math.h>
#include <string.h>
#include "engine/engine.h"
#include "engine/prompt.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define SIDE 60

static char *folder;
/* or as ENGINE_DEVICE says, in 16 bits */
static const char *on_device = "cpu";
static VlmWeightType on_weights = VLM_WEIGHTS_AUTO;

/* Pictures that differ: number i. */
static void
paint (guint8 *pixels, int i)
{
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++)
      for (int c = 0; c < 3; c++)
        pixels[(y * SIDE + x) * 3 + c] =
            (guint8) (x * (3 + i) + y * (c + 1) + (x ^ (i * 7)) * y / 4);
}

/* One request: what it asks for and what it got. The worker writes; the test
 * reads after the stream is drained. */
typedef struct {
  VlmPicture picture;
  guint8 pixels[SIDE * SIDE * 3];
  VlmSettings settings; /* owned strings are copied for each request */
  VlmStream *cancel_on; /* cancelled after cancel_at tokens */
  int cancel_at;
  gboolean refuse;
  gint fetched, released; /* atomic */
  int texts;
  gboolean grew_in_order;
  char *text, *reason, *rendered;
  GArray *ids, *kept;
  VlmResult result; /* numbers only */
  GError *error;
} Ask;

static void
ask_init (Ask *ask, int number)
{
  memset (ask, 0, sizeof *ask);
  vlm_settings_init (&ask->settings);
  ask->settings.max_tokens = 12;
  paint (ask->pixels, number);
  ask->picture = (VlmPicture){ ask->pixels, SIDE, SIDE, SIDE * 3, 1, 1 };
  ask->grew_in_order = TRUE;
}

static void
ask_forget (Ask *ask)
{
  g_clear_pointer (&ask->text, g_free);
  g_clear_pointer (&ask->reason, g_free);
  g_clear_pointer (&ask->rendered, g_free);
  g_clear_pointer (&ask->ids, g_array_unref);
  g_clear_pointer (&ask->kept, g_array_unref);
  g_clear_error (&ask->error);
}

static void
ask_clear (Ask *ask)
{
  ask_forget (ask);
  vlm_settings_clear (&ask->settings);
}

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  Ask *ask = user_data;
  g_atomic_int_inc (&ask->fetched);
  if (ask->refuse) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST, "No picture today.");
    return FALSE;
  }
  vlm_settings_clear (&task->settings);
  task->settings = ask->settings;
  task->settings.prompt = g_strdup (ask->settings.prompt);
  task->settings.system_prompt = g_strdup (ask->settings.system_prompt);
  task->settings.stop = g_strdupv (ask->settings.stop);
  task->picture = ask->picture;
  return TRUE;
}

static void
on_release (gpointer user_data)
{
  Ask *ask = user_data;
  g_atomic_int_inc (&ask->released);
}

static void
on_text (const VlmResult *so_far, gpointer user_data)
{
  Ask *ask = user_data;
  ask->texts++;
  if (ask->text && !g_str_has_prefix (so_far->text, ask->text))
    ask->grew_in_order = FALSE;
  g_free (ask->text);
  ask->text = g_strdup (so_far->text);
  g_assert_true (g_utf8_validate (so_far->text, -1, NULL));
  if (ask->cancel_on && so_far->tokens >= ask->cancel_at)
    vlm_stream_cancel (ask->cancel_on, 0);
}

static GArray *
ints (const int *values, int n)
{
  GArray *array = g_array_new (FALSE, FALSE, sizeof (int));
  return values ? g_array_append_vals (array, values, n) : array;
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Ask *ask = user_data;
  ask_forget (ask);
  if (error) {
    ask->error = g_error_copy (error);
    return;
  }
  ask->result = *result;
  ask->text = g_strdup (result->text);
  ask->reason = g_strdup (result->finish_reason);
  ask->rendered = g_strdup (result->rendered_prompt);
  ask->ids = ints (result->token_ids, result->tokens);
  ask->kept = ints (result->kept_ids, result->n_kept);
}

static const VlmRequestFuncs funcs = { on_fetch, on_release, on_text, on_done };

static VlmEngine *
open_with (const VlmOpenOptions *options)
{
  g_autoptr (GError) error = NULL;
  VlmEngine *engine = vlm_engine_open (options, &error);
  g_assert_no_error (error);
  g_assert_nonnull (engine);
  return engine;
}

static VlmEngine *
open_model (const char *path, gboolean share)
{
  VlmOpenOptions options = {
    .path = path,
    .device = on_device,
    .weights = on_weights,
    .threads = 1,
    .share = share,
  };
  return open_with (&options);
}

/* One request on a stream of its own, to its end. */
static void
run (VlmEngine *engine, Ask *ask)
{
  VlmStream *stream = vlm_stream_new (engine);
  vlm_stream_submit (stream, &funcs, ask);
  vlm_stream_drain (stream);
  vlm_stream_free (stream);
}

static void
test_caption (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  VlmEngineInfo info;
  Ask ask;
  ask_init (&ask, 1);
  ask.settings.detail = TRUE;
  run (engine, &ask);
  g_assert_no_error (ask.error);
  g_assert_cmpint (ask.fetched, ==, 1);
  g_assert_cmpint (ask.released, ==, 1);
  g_assert_true (ask.grew_in_order);
  g_assert_cmpint (ask.result.tokens, ==, ask.ids->len);
  g_assert_cmpint (ask.result.tokens, >, 0);
  g_assert_cmpint (ask.result.tokens, <=, 12);
  g_assert_cmpstr (
      ask.rendered, ==, "USER: <image> Describe the picture. ASSISTANT:");

  /* 60x60 on tiles of 28: a grid of 2x2; a fifth of 5*16 tokens. */
  g_assert_cmpint (ask.result.grid[0], ==, 2);
  g_assert_cmpint (ask.result.grid[1], ==, 2);
  g_assert_cmpint (ask.result.image_tokens, ==, 16 + 8 * 9);
  g_assert_cmpint (ask.result.image_tokens_kept, ==, 16);
  g_assert_cmpint (ask.kept->len, ==, 16);
  g_assert_cmpint (ask.result.n_tiles, ==, 5);
  g_assert_cmpint (
      ask.result.prompt_tokens, ==, ask.result.n_prompt_ids - 1 + 16);
  g_assert_cmpint (ask.result.ttft_us, >=, ask.result.vision_us);
  g_assert_cmpint (ask.result.total_us, >=, ask.result.ttft_us);

  vlm_engine_info (engine, &info);
  g_assert_cmpstr (info.weights, ==, "f32");
  g_assert_cmpint (info.context, ==, 2048);
  ask_clear (&ask);
}

static void
test_full_budget (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  Ask all, full;
  ask_init (&all, 2);
  ask_init (&full, 2);
  vlm_settings_set_policy (&all.settings, vlm_policy_find ("all"));
  full.settings.token_budget = 1;
  run (engine, &all);
  run (engine, &full);
  g_assert_no_error (all.error);
  g_assert_cmpint (all.result.image_tokens_kept, ==, 16 + 8 * 9);
  g_assert_cmpint (full.result.image_tokens_kept, ==, 16 + 8 * 9);
  g_assert_cmpstr (all.text, ==, full.text);
  ask_clear (&all);
  ask_clear (&full);
}

/* Every text is what it is alone, whatever runs beside it. */
static void
check_batch (VlmWeightType weights)
{
  enum { STREAMS = 6 };
  VlmOpenOptions options = {
    .path = folder, .device = on_device, .threads = 2, .weights = weights
  };
  g_autoptr (VlmEngine) engine = open_with (&options);
  Ask alone[STREAMS], beside[STREAMS];
  VlmStream *stream[STREAMS];
  for (int i = 0; i < STREAMS; i++) {
    ask_init (&alone[i], i);
    alone[i].settings.max_tokens = 6 + 3 * i;
    alone[i].settings.token_budget = 0.1 + 0.15 * i;
    run (engine, &alone[i]);
    ask_init (&beside[i], i);
    beside[i].settings = alone[i].settings;
    stream[i] = vlm_stream_new (engine);
  }
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < STREAMS; i++)
      vlm_stream_submit (stream[i], &funcs, &beside[i]);
  for (int i = 0; i < STREAMS; i++) {
    vlm_stream_drain (stream[i]);
    g_assert_no_error (beside[i].error);
    g_assert_cmpint (beside[i].fetched, ==, 3);
    g_assert_cmpstr (beside[i].text, ==, alone[i].text);
    vlm_stream_free (stream[i]);
    ask_clear (&beside[i]);
    ask_clear (&alone[i]);
  }
}

static void
test_batch_f32 (void)
{
  check_batch (VLM_WEIGHTS_F32);
}

static void
test_batch_bf16 (void)
{
  check_batch (VLM_WEIGHTS_BF16);
}

/* From no token at all to more than there are. */
static void
test_budgets (void)
{
  static const double budgets[] = { 0, 1e-9, 0.013, 1, 1.5, 7, 1e9 };
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  for (int p = 0; vlm_policies[p]; p++)
    for (guint i = 0; i < G_N_ELEMENTS (budgets); i++) {
      Ask ask;
      ask_init (&ask, 7);
      ask.settings.max_tokens = 2;
      vlm_settings_set_policy (&ask.settings, vlm_policies[p]);
      ask.settings.token_budget = budgets[i];
      run (engine, &ask);
      g_assert_no_error (ask.error);
      g_assert_cmpint (ask.result.image_tokens, ==, 16 + 8 * 9);
      g_assert_cmpint (ask.result.image_tokens_kept, <=, 16 + 8 * 9);
      if (p == 0 && i < 2)
        g_assert_cmpint (ask.result.image_tokens_kept, ==, 0);
      if (p == 0 && budgets[i] == 7)
        g_assert_cmpint (ask.result.image_tokens_kept, ==, 7);
      ask_clear (&ask);
    }
}

/* Tokens that policies which meet the budget keep. */
static int
expected_tokens (const VlmTileGeometry *g, double budget)
{
  int first_row, n_rows, first_col, n_cols, all = vlm_policy_tokens (g);
  vlm_tile_kept (g, &first_row, &n_rows, &first_col, &n_cols);
  int most = g->side * g->side + n_rows * n_cols;
  return (int) MIN (budget <= 1 ? budget * all + 1e-6 : budget, most);
}

static void
check_policy (VlmEngine *engine, const VlmPolicy *policy, double budget,
    const char *full_text)
{
  Ask ask;
  ask_init (&ask, 11);
  vlm_settings_set_policy (&ask.settings, policy);
  ask.settings.token_budget = budget;
  run (engine, &ask);
  g_assert_no_error (ask.error);
  g_assert_cmpstr (ask.result.policy, ==, policy->name);
  if (budget == 1)
    g_assert_cmpstr (ask.text, ==, full_text);
  else
    g_assert_cmpint (ask.result.image_tokens_kept, ==,
        expected_tokens (&ask.result.geometry, budget));
  ask_clear (&ask);
}

static void
check_twice (VlmEngine *engine, const VlmPolicy *policy)
{
  Ask ask[2];
  for (int i = 0; i < 2; i++) {
    ask_init (&ask[i], 11);
    vlm_settings_set_policy (&ask[i].settings, policy);
    ask[i].settings.token_budget = 0.2;
    run (engine, &ask[i]);
    g_assert_no_error (ask[i].error);
  }
  g_assert_cmpstr (ask[0].text, ==, ask[1].text);
  for (int i = 0; i < 2; i++)
    ask_clear (&ask[i]);
}

/* The shipped model sees with every policy. */
static void
test_policies (void)
{
  static const double budgets[] = { 0.03, 0.6, 1, 100 };
  static const char *const apart[] = { "hired-reference", "all", NULL };
  g_autofree char *tiny =
      g_test_build_filename (G_TEST_DIST, "..", "models", "tiny", NULL);
  g_autoptr (VlmEngine) engine = open_model (tiny, TRUE);
  Ask all;
  ask_init (&all, 11);
  vlm_settings_set_policy (&all.settings, vlm_policy_find ("all"));
  run (engine, &all);
  g_assert_no_error (all.error);
  for (int p = 0; vlm_policies[p]; p++) {
    check_twice (engine, vlm_policies[p]);
    for (guint i = 0; i < G_N_ELEMENTS (budgets); i++)
      if (!g_strv_contains (apart, vlm_policies[p]->name))
        check_policy (engine, vlm_policies[p], budgets[i], all.text);
  }
  ask_clear (&all);
}

static void
test_cancel (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  Ask ask;
  ask_init (&ask, 3);
  ask.settings.max_tokens = 1000;
  ask.cancel_on = stream;
  ask.cancel_at = 3;
  vlm_stream_submit (stream, &funcs, &ask);
  vlm_stream_drain (stream);
  g_assert_no_error (ask.error);
  if (g_strcmp0 (ask.reason, "eos") != 0) {
    g_assert_cmpstr (ask.reason, ==, "cancelled");
    g_assert_cmpint (ask.result.tokens, <=, 4 + 3);
  }
  vlm_stream_free (stream);
  ask_clear (&ask);
}

static void
test_stop_string (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  Ask whole, cut;
  ask_init (&whole, 4);
  whole.settings.max_tokens = 24;
  run (engine, &whole);
  g_assert_no_error (whole.error);
  glong n = g_utf8_strlen (whole.text, -1);
  g_assert_cmpint (n, >, 4);

  g_autofree char *middle = g_utf8_substring (whole.text, n / 2, n / 2 + 2);
  char *stop[] = { (char *) "never said", middle, NULL };
  ask_init (&cut, 4);
  cut.settings.max_tokens = 24;
  cut.settings.stop = g_strdupv (stop);
  run (engine, &cut);
  g_assert_no_error (cut.error);
  g_assert_cmpstr (cut.reason, ==, "stop");
  g_assert_true (g_str_has_prefix (whole.text, cut.text));
  g_assert_nonnull (strstr (cut.text, middle));
  g_assert_cmpint (strlen (cut.text), <, strlen (whole.text));
  ask_clear (&whole);
  ask_clear (&cut);
}

static void
test_length (void)
{
  /* Two pages of context: a long answer ends where the context does. */
  char *small = folder_new ();
  tiny_model_write (small, &(TinyModel){ .max_position = 128, .seed = 3 });
  VlmEngine *engine = open_model (small, FALSE);
  Ask ask;
  ask_init (&ask, 1);
  ask.settings.max_tokens = 500;
  run (engine, &ask);
  g_assert_no_error (ask.error);
  if (g_strcmp0 (ask.reason, "eos") != 0) {
    g_assert_cmpstr (ask.reason, ==, "length");
    g_assert_cmpint (ask.result.prompt_tokens + ask.result.tokens, ==, 129);
  }

  /* A prompt that fills it is refused with its counts. */
  ask.settings.prompt = g_strnfill (200, 'a');
  run (engine, &ask);
  g_assert_error (ask.error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_assert_nonnull (strstr (ask.error->message, "128"));
  g_assert_nonnull (strstr (ask.error->message, "16 of them"));
  ask_clear (&ask);
  vlm_engine_unref (engine);
  folder_remove (small);
}

/* The context holds what is kept; positions count what was dropped too. */
static void
test_positions (void)
{
  char *small = folder_new ();
  tiny_model_write (small, &(TinyModel){ .max_position = 192, .seed = 3 });
  VlmEngine *engine = open_model (small, FALSE);
  Ask closed, whole;
  ask_init (&closed, 1);
  ask_init (&whole, 1);
  closed.settings.max_tokens = whole.settings.max_tokens = 500;
  whole.settings.positions = VLM_POSITIONS_WHOLE;
  run (engine, &closed);
  run (engine, &whole);
  g_assert_no_error (whole.error);
  int dropped = whole.result.image_tokens - whole.result.image_tokens_kept;
  g_assert_cmpint (dropped, >, 0);
  g_assert_cmpint (whole.result.prompt_tokens, ==, closed.result.prompt_tokens);
  g_assert_cmpstr (whole.text, !=, closed.text);
  if (g_str_equal (whole.reason, "length"))
    g_assert_cmpint (
        whole.result.prompt_tokens + whole.result.tokens + dropped, ==, 193);

  /* Letters are tokens: the longest prompt that has room, and one more. */
  int room = 192 - 1 - whole.result.prompt_tokens - dropped;
  int letters = strlen (VLM_DEFAULT_PROMPT) + room;
  whole.settings.prompt = g_strnfill (letters, 'a');
  run (engine, &whole);
  g_assert_no_error (whole.error);
  g_assert_cmpint (whole.result.tokens, <=, 2);
  g_free (whole.settings.prompt);
  whole.settings.prompt = g_strnfill (letters + 1, 'a');
  run (engine, &whole);
  g_assert_error (whole.error, VLM_ERROR, VLM_ERROR_SETTINGS);
  g_assert_nonnull (strstr (whole.error->message, "closed positions"));
  whole.settings.positions = VLM_POSITIONS_CLOSED;
  run (engine, &whole);
  g_assert_no_error (whole.error);
  ask_clear (&whole);
  ask_clear (&closed);
  vlm_engine_unref (engine);
  folder_remove (small);
}

static void
expect_refused (VlmEngine *engine, const char *prompt, gboolean raw, int code,
    const char *words)
{
  Ask ask;
  ask_init (&ask, 0);
  ask.settings.prompt = g_strdup (prompt);
  ask.settings.raw_prompt = raw;
  run (engine, &ask);
  g_assert_error (ask.error, VLM_ERROR, code);
  g_assert_nonnull (strstr (ask.error->message, words));
  g_assert_cmpint (ask.fetched, ==, ask.released);
  ask_clear (&ask);
}

static void
test_prompts (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  expect_refused (engine, "no picture", TRUE, VLM_ERROR_REQUEST, "0 <image>");
  expect_refused (
      engine, "<image> and <image>", TRUE, VLM_ERROR_REQUEST, "2 <image>");
  expect_refused (
      engine, "what is <image>?", FALSE, VLM_ERROR_REQUEST, "2 <image>");
  expect_refused (engine, NULL, TRUE, VLM_ERROR_SETTINGS, "raw prompt");

  Ask ask;
  ask_init (&ask, 0);
  ask.settings.detail = TRUE;
  ask.settings.system_prompt = g_strdup ("be brief");
  ask.settings.prompt = g_strdup ("what?");
  run (engine, &ask);
  g_assert_no_error (ask.error);
  g_assert_cmpstr (
      ask.rendered, ==, "SYSTEM:  be brief USER: <image> what? ASSISTANT:");
  ask_clear (&ask);

  /* A prompt that brings its own mark gets no second one. */
  int n = 0;
  for (int own = 0; own < 2; own++) {
    ask_init (&ask, 0);
    ask.settings.detail = ask.settings.raw_prompt = TRUE;
    ask.settings.prompt = g_strdup (own ? "<s><image>" : "<image>");
    run (engine, &ask);
    g_assert_no_error (ask.error);
    g_assert_true (own == 0 || ask.result.n_prompt_ids == n);
    n = ask.result.n_prompt_ids;
    ask_clear (&ask);
  }
}

static void
test_bad_pictures (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  Ask ask;
  ask_init (&ask, 0);
  ask.refuse = TRUE;
  run (engine, &ask);
  g_assert_error (ask.error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_assert_cmpint (ask.released, ==, 0);
  ask.refuse = FALSE;
  ask.picture.width = 0;
  run (engine, &ask);
  g_assert_error (ask.error, VLM_ERROR, VLM_ERROR_REQUEST);
  ask.picture.width = ask.picture.height = 1;
  run (engine, &ask);
  g_assert_no_error (ask.error);
  g_assert_cmpint (ask.fetched, ==, ask.released + 1);
  ask_clear (&ask);
}

typedef struct {
  GMutex lock;
  GCond cond;
  int calls, last;
  gboolean leave_at_once, ended;
  guint id;
  GError *error;
} Load;

static void
on_load (
    VlmEngine *engine, int percent, const GError *error, gpointer user_data)
{
  Load *load = user_data;
  g_mutex_lock (&load->lock);
  g_assert_cmpint (percent, >=, load->last);
  load->last = percent;
  load->calls++;
  load->ended |= percent == 100;
  if (error)
    load->error = g_error_copy (error);
  g_cond_broadcast (&load->cond);
  gboolean leave = load->leave_at_once && percent > 0;
  g_mutex_unlock (&load->lock);
  if (leave)
    vlm_engine_load_leave (engine, load->id);
}

static void
test_load (void)
{
  VlmEngine *engine = open_model (folder, FALSE);
  Load load = { .leave_at_once = TRUE };
  g_mutex_init (&load.lock);
  g_cond_init (&load.cond);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_OPEN);

  /* The only joiner leaves on the way: nothing is loaded. */
  g_mutex_lock (&load.lock);
  load.id = vlm_engine_load (engine, on_load, &load);
  while (!load.last)
    g_cond_wait (&load.cond, &load.lock);
  g_mutex_unlock (&load.lock);
  while (vlm_engine_state (engine) == VLM_ENGINE_LOADING)
    g_usleep (1000);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_OPEN);
  g_assert_false (load.ended);

  g_mutex_lock (&load.lock);
  load.leave_at_once = FALSE;
  load.last = load.calls = 0;
  vlm_engine_load (engine, on_load, &load);
  while (!load.ended)
    g_cond_wait (&load.cond, &load.lock);
  g_mutex_unlock (&load.lock);
  g_assert_no_error (load.error);
  g_assert_cmpint (load.calls, >, 5);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_READY);
  vlm_engine_unref (engine);
  g_mutex_clear (&load.lock);
  g_cond_clear (&load.cond);
}

static void
expect_no_open (const char *path, const char *device, int code)
{
  g_autoptr (GError) error = NULL;
  VlmOpenOptions options = { .path = path, .device = device };
  g_assert_null (vlm_engine_open (&options, &error));
  g_assert_error (error, VLM_ERROR, code);
  g_assert_cmpuint (strlen (error->message), >, 20);
}

static void
test_open_errors (void)
{
  expect_no_open ("/no/such/folder", "cpu", VLM_ERROR_NOT_FOUND);
  expect_no_open (folder, "toaster", VLM_ERROR_DEVICE);

  /* A tokenizer without <image> is seen by the load, told to requests. */
  char *broken = folder_new ();
  tiny_model_write (broken, NULL);
  folder_write (broken, "tokenizer.json", "{}", -1);
  VlmEngine *engine = open_model (broken, FALSE);
  Ask ask;
  ask_init (&ask, 0);
  run (engine, &ask);
  g_assert_error (ask.error, VLM_ERROR, VLM_ERROR_DATA);
  g_assert_cmpint (ask.fetched, ==, 0);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_FAILED);
  ask_clear (&ask);
  vlm_engine_unref (engine);
  folder_remove (broken);
}

static void
test_sharing (void)
{
  g_autofree char *same =
      g_strdup_printf ("%s/../%s/", folder, strrchr (folder, '/') + 1);
  VlmEngine *a = open_model (folder, TRUE), *b = open_model (same, TRUE);
  VlmEngine *alone = open_model (folder, FALSE);
  VlmEngineInfo info;
  g_assert_true (a == b);
  g_assert_true (a != alone);
  vlm_engine_info (a, &info);
  g_assert_cmpint (info.sharers, ==, 2);

  /* Two engines at once, on two workers, say the same. */
  Ask one, two;
  ask_init (&one, 5);
  ask_init (&two, 5);
  VlmStream *first = vlm_stream_new (a), *second = vlm_stream_new (alone);
  vlm_stream_submit (first, &funcs, &one);
  vlm_stream_submit (second, &funcs, &two);
  vlm_stream_drain (first);
  vlm_stream_drain (second);
  g_assert_cmpstr (one.text, ==, two.text);
  vlm_stream_free (first);
  vlm_stream_free (second);
  vlm_engine_unref (a);
  vlm_engine_unref (b);
  vlm_engine_unref (alone);
  ask_clear (&one);
  ask_clear (&two);
}

/* Freed at any moment: while loading, encoding, decoding. */
static void
test_free_running (void)
{
  for (int i = 0; i < 8; i++) {
    VlmEngine *engine = open_model (folder, FALSE);
    VlmStream *stream = vlm_stream_new (engine);
    Ask ask;
    ask_init (&ask, i);
    ask.settings.max_tokens = 1000;
    vlm_stream_submit (stream, &funcs, &ask);
    vlm_stream_submit (stream, &funcs, &ask);
    vlm_engine_unref (engine);
    g_usleep (i * 700);
    vlm_stream_free (stream);
    g_assert_cmpint (ask.fetched, ==, ask.released);
    ask_clear (&ask);
  }
}

/* Sampling is drawn from the seed alone. */
static void
test_sampling (void)
{
  g_autoptr (VlmEngine) engine = open_model (folder, TRUE);
  Ask ask[3];
  for (int i = 0; i < 3; i++) {
    ask_init (&ask[i], 6);
    ask[i].settings.max_tokens = 24;
    ask[i].settings.sampling.temperature = 1.5;
    ask[i].settings.sampling.seed = i == 2 ? 8 : 7;
    run (engine, &ask[i]);
    g_assert_no_error (ask[i].error);
  }
  g_assert_cmpstr (ask[0].text, ==, ask[1].text);
  g_assert_cmpstr (ask[0].text, !=, ask[2].text);
  for (int i = 0; i < 3; i++)
    ask_clear (&ask[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (g_getenv ("ENGINE_DEVICE")) {
    on_device = g_getenv ("ENGINE_DEVICE");
    on_weights = VLM_WEIGHTS_BF16;
  }
  folder = folder_new ();
  tiny_model_write (folder, NULL);
  g_test_add_func ("/engine/caption", test_caption);
  g_test_add_func ("/engine/full-budget", test_full_budget);
  g_test_add_func ("/engine/batch/f32", test_batch_f32);
  g_test_add_func ("/engine/batch/bf16", test_batch_bf16);
  g_test_add_func ("/engine/policies", test_policies);
  g_test_add_func ("/engine/budgets", test_budgets);
  g_test_add_func ("/engine/cancel", test_cancel);
  g_test_add_func ("/engine/stop-string", test_stop_string);
  g_test_add_func ("/engine/length", test_length);
  g_test_add_func ("/engine/positions", test_positions);
  g_test_add_func ("/engine/prompts", test_prompts);
  g_test_add_func ("/engine/bad-pictures", test_bad_pictures);
  g_test_add_func ("/engine/load", test_load);
  g_test_add_func ("/engine/open-errors", test_open_errors);
  g_test_add_func ("/engine/sharing", test_sharing);
  g_test_add_func ("/engine/free-running", test_free_running);
  g_test_add_func ("/engine/sampling", test_sampling);
  int status = g_test_run ();
  folder_remove (folder);
  return status;
}
