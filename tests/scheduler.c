/* scheduler.c - threads, turns, loads and cancels, over the fake engine
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Nothing here depends on how long anything takes: where order matters the
 * fake engine is held and let go word by word.
 */
#include <string.h>
#include "engine/engine.h"
#include "tests/fake-engine.h"

static const guint8 pixels[3 * 4 * 4];

/* What one request went through; guarded by `lock`, which the callbacks and
 * the test share. */
typedef struct {
  GMutex lock;
  int fetched, released, texts, ended;
  gboolean withdraw;
  int max_tokens;
  char *text;
  char *reason;
  GError *error;
  GString *journal; /* shared by several, or NULL */
  char letter;
} Watch;

static void
watch_init (Watch *watch)
{
  *watch = (Watch){ 0 };
  g_mutex_init (&watch->lock);
}

static void
watch_clear (Watch *watch)
{
  g_free (watch->text);
  g_free (watch->reason);
  g_clear_error (&watch->error);
  g_mutex_clear (&watch->lock);
}

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  Watch *watch = user_data;
  g_mutex_lock (&watch->lock);
  watch->fetched++;
  task->picture = (VlmPicture){ pixels, 4, 4, 12, 1, 1 };
  if (watch->max_tokens)
    task->settings.max_tokens = watch->max_tokens;
  if (watch->journal)
    g_string_append_c (watch->journal, watch->letter);
  gboolean give = !watch->withdraw;
  g_mutex_unlock (&watch->lock);
  return give;
}

static void
on_release (gpointer user_data)
{
  Watch *watch = user_data;
  g_mutex_lock (&watch->lock);
  watch->released++;
  g_mutex_unlock (&watch->lock);
}

static void
on_text (const VlmResult *so_far, gpointer user_data)
{
  Watch *watch = user_data;
  g_mutex_lock (&watch->lock);
  watch->texts++;
  g_assert_true (g_utf8_validate (so_far->text, -1, NULL));
  g_mutex_unlock (&watch->lock);
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Watch *watch = user_data;
  g_mutex_lock (&watch->lock);
  watch->ended++;
  g_assert_true ((result == NULL) != (error == NULL));
  if (result) {
    g_free (watch->text);
    g_free (watch->reason);
    watch->text = g_strdup (result->text);
    watch->reason = g_strdup (result->finish_reason);
  } else {
    g_clear_error (&watch->error);
    watch->error = g_error_copy (error);
  }
  g_mutex_unlock (&watch->lock);
}

static const VlmRequestFuncs funcs = { on_fetch, on_release, on_text, on_done };

static VlmEngine *
open_engine (gboolean share)
{
  g_autoptr (GError) error = NULL;
  VlmOpenOptions options = { .path = "/no/such/model", .share = share };
  VlmEngine *engine = vlm_engine_open (&options, &error);
  g_assert_no_error (error);
  g_assert_nonnull (engine);
  return engine;
}

static FakeCounters
counters (void)
{
  FakeCounters c;
  fake_engine_counters (&c);
  return c;
}

static void
test_one (void)
{
  Watch watch;
  watch_init (&watch);
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  g_assert_cmpuint (vlm_stream_submit (stream, &funcs, &watch), ==, 1);
  vlm_stream_drain (stream);
  g_assert_cmpint (watch.fetched, ==, 1);
  g_assert_cmpint (watch.released, ==, 1);
  g_assert_cmpint (watch.texts, ==, 6);
  g_assert_cmpint (watch.ended, ==, 1);
  g_assert_cmpstr (watch.text, ==, "a red circle on the left");
  g_assert_cmpstr (watch.reason, ==, "eos");
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_READY);
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  watch_clear (&watch);
}

static void
test_length (void)
{
  Watch watch;
  watch_init (&watch);
  watch.max_tokens = 2;
  VlmEngine *engine = open_engine (FALSE);
  VlmStream *stream = vlm_stream_new (engine);
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_drain (stream);
  g_assert_cmpstr (watch.text, ==, "a red");
  g_assert_cmpstr (watch.reason, ==, "length");
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  watch_clear (&watch);
}

static void
test_sharing (void)
{
  VlmEngineInfo info;
  VlmEngine *a = open_engine (TRUE), *b = open_engine (TRUE);
  VlmEngine *alone = open_engine (FALSE);
  g_assert_true (a == b);
  g_assert_true (a != alone);
  vlm_engine_info (a, &info);
  g_assert_cmpint (info.sharers, ==, 2);

  /* A stream keeps the engine without sharing it. */
  VlmStream *stream = vlm_stream_new (a);
  vlm_engine_info (a, &info);
  g_assert_cmpint (info.sharers, ==, 2);
  vlm_engine_unref (a);
  vlm_engine_unref (b);
  VlmEngine *again = open_engine (TRUE);
  g_assert_true (again == a);
  vlm_stream_free (stream);
  vlm_engine_unref (again);
  vlm_engine_unref (alone);
  g_assert_cmpint (counters ().alive, ==, 0);
}

typedef struct {
  GMutex lock;
  GCond cond;
  int calls, last_percent, ends;
  GError *error;
} LoadWatch;

static void
on_load (
    VlmEngine *engine, int percent, const GError *error, gpointer user_data)
{
  LoadWatch *watch = user_data;
  g_mutex_lock (&watch->lock);
  g_assert_cmpint (percent, >=, watch->last_percent);
  watch->calls++;
  watch->last_percent = percent;
  watch->ends += percent == 100;
  if (error && !watch->error)
    watch->error = g_error_copy (error);
  g_cond_broadcast (&watch->cond);
  g_mutex_unlock (&watch->lock);
}

static void
load_watch_init (LoadWatch *watch)
{
  *watch = (LoadWatch){ 0 };
  g_mutex_init (&watch->lock);
  g_cond_init (&watch->cond);
}

static void
load_watch_wait (LoadWatch *watch, int ends)
{
  g_mutex_lock (&watch->lock);
  while (watch->ends < ends)
    g_cond_wait (&watch->cond, &watch->lock);
  g_mutex_unlock (&watch->lock);
}

static void
load_watch_clear (LoadWatch *watch)
{
  g_clear_error (&watch->error);
  g_mutex_clear (&watch->lock);
  g_cond_clear (&watch->cond);
}

static void
test_load_joined (void)
{
  LoadWatch first, second, late;
  load_watch_init (&first);
  load_watch_init (&second);
  load_watch_init (&late);
  VlmEngine *engine = open_engine (TRUE);
  fake_engine_hold (TRUE);
  guint one = vlm_engine_load (engine, on_load, &first);
  guint two = vlm_engine_load (engine, on_load, &second);
  g_assert_cmpuint (one, !=, two);
  fake_engine_wait_for (loads, 1);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_LOADING);
  fake_engine_hold (FALSE);
  load_watch_wait (&first, 1);
  load_watch_wait (&second, 1);
  vlm_engine_load (engine, on_load, &late);
  load_watch_wait (&late, 1);
  g_assert_cmpint (first.calls, >, 50);
  g_assert_cmpint (late.calls, ==, 1);
  g_assert_cmpint (counters ().loads, ==, 1);
  vlm_engine_load_leave (engine, one);
  vlm_engine_load_leave (engine, two);
  vlm_engine_unref (engine);
  load_watch_clear (&first);
  load_watch_clear (&second);
  load_watch_clear (&late);
}

static void
test_load_left (void)
{
  LoadWatch watch, other;
  load_watch_init (&watch);
  load_watch_init (&other);
  VlmEngine *engine = open_engine (TRUE);
  fake_engine_hold (TRUE);
  guint id = vlm_engine_load (engine, on_load, &watch);
  guint stays = vlm_engine_load (engine, on_load, &other);
  fake_engine_wait_for (loads, 1);
  vlm_engine_load_leave (engine, id);
  int calls = watch.calls;
  fake_engine_let_one ();
  vlm_engine_load_leave (engine, stays);
  fake_engine_hold (FALSE);
  while (vlm_engine_state (engine) != VLM_ENGINE_OPEN)
    g_usleep (1000);
  g_assert_cmpint (watch.calls, ==, calls);
  g_assert_cmpint (watch.ends, ==, 0);
  g_assert_cmpint (counters ().loaded, ==, 0);

  /* A cancelled load may be started anew. */
  watch.last_percent = 0;
  vlm_engine_load (engine, on_load, &watch);
  load_watch_wait (&watch, 1);
  g_assert_no_error (watch.error);
  vlm_engine_unref (engine);
  load_watch_clear (&watch);
  load_watch_clear (&other);
}

static void
test_load_fails (void)
{
  FakeConfig config;
  fake_engine_config_init (&config);
  config.load_error = (FakeError){ VLM_ERROR_DATA, "The file is broken." };
  config.load_error_percent = 40;
  fake_engine_configure (&config);
  LoadWatch load;
  load_watch_init (&load);
  Watch watch;
  watch_init (&watch);
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  vlm_engine_load (engine, on_load, &load);
  load_watch_wait (&load, 1);
  g_assert_error (load.error, VLM_ERROR, VLM_ERROR_DATA);
  g_assert_cmpint (vlm_engine_state (engine), ==, VLM_ENGINE_FAILED);

  /* Requests end with the same error, without a fetch. */
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_drain (stream);
  g_assert_error (watch.error, VLM_ERROR, VLM_ERROR_DATA);
  g_assert_cmpint (watch.fetched, ==, 0);

  /* Once the cause is gone a new load helps. */
  fake_engine_reset ();
  load.last_percent = 0;
  vlm_engine_load (engine, on_load, &load);
  load_watch_wait (&load, 2);
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_drain (stream);
  g_assert_cmpstr (watch.reason, ==, "eos");
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  load_watch_clear (&load);
  watch_clear (&watch);
}

static void
test_cancel_running (void)
{
  Watch watch;
  watch_init (&watch);
  fake_engine_hold (TRUE);
  VlmEngine *engine = open_engine (TRUE);
  vlm_engine_load (engine, NULL, NULL);
  for (int i = 0; i < 100; i++)
    fake_engine_let_one ();
  VlmStream *stream = vlm_stream_new (engine);
  guint64 id = vlm_stream_submit (stream, &funcs, &watch);
  g_assert_true (fake_engine_wait_for (begun, 1));
  fake_engine_let_one (); /* into decoding */
  fake_engine_let_one ();
  fake_engine_let_one ();
  g_assert_true (fake_engine_wait_for (tokens, 2));
  vlm_stream_cancel (stream, id);
  vlm_stream_drain (stream);
  g_assert_cmpstr (watch.text, ==, "a red");
  g_assert_cmpstr (watch.reason, ==, "cancelled");
  g_assert_cmpint (counters ().tokens, ==, 2);
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  watch_clear (&watch);
}

static void
test_cancel_waiting (void)
{
  Watch first, second;
  watch_init (&first);
  watch_init (&second);
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  vlm_stream_submit (stream, &funcs, &first);
  vlm_stream_drain (stream);
  fake_engine_hold (TRUE);
  vlm_stream_submit (stream, &funcs, &first);
  guint64 id = vlm_stream_submit (stream, &funcs, &second);
  fake_engine_wait_for (begun, 2);
  vlm_stream_cancel (stream, id);
  fake_engine_hold (FALSE);
  vlm_stream_drain (stream);
  g_assert_error (second.error, VLM_ERROR, VLM_ERROR_CANCELLED);
  g_assert_cmpint (second.fetched, ==, 0);
  g_assert_cmpint (first.ended, ==, 2);

  /* Before any text it is an error, too. */
  fake_engine_hold (TRUE);
  vlm_stream_submit (stream, &funcs, &first);
  fake_engine_wait_for (begun, 3);
  vlm_stream_cancel (stream, 0);
  vlm_stream_drain (stream);
  g_assert_error (first.error, VLM_ERROR, VLM_ERROR_CANCELLED);
  g_assert_cmpint (first.released, ==, 3);
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  watch_clear (&first);
  watch_clear (&second);
}

/* Another stream's picture is being read, for ever. */
static void
test_free_waiting (void)
{
  Watch first, second;
  watch_init (&first);
  watch_init (&second);
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *one = vlm_stream_new (engine), *two = vlm_stream_new (engine);
  vlm_stream_submit (one, &funcs, &first);
  vlm_stream_drain (one);
  fake_engine_hold (TRUE);
  vlm_stream_submit (one, &funcs, &first);
  fake_engine_wait_for (begun, 2);
  vlm_stream_submit (two, &funcs, &second);
  vlm_stream_submit (two, &funcs, &second);
  vlm_stream_free (two);
  g_assert_error (second.error, VLM_ERROR, VLM_ERROR_CANCELLED);
  g_assert_cmpint (second.fetched, ==, 0);
  g_assert_cmpint (second.ended, ==, 2);
  g_assert_cmpint (first.ended, ==, 1);
  vlm_stream_free (one);
  g_assert_cmpint (first.ended, ==, 2);
  vlm_engine_unref (engine);
  watch_clear (&first);
  watch_clear (&second);
}

static void
test_withdrawn (void)
{
  Watch watch;
  watch_init (&watch);
  watch.withdraw = TRUE;
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_drain (stream);
  g_assert_error (watch.error, VLM_ERROR, VLM_ERROR_CANCELLED);
  g_assert_cmpint (watch.released, ==, 0);
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  watch_clear (&watch);
}

static void
test_request_fails (void)
{
  FakeConfig config;
  fake_engine_config_init (&config);
  config.request_error = (FakeError){ VLM_ERROR_REQUEST, "Too long." };
  config.request_error_first = config.request_error_last = 2;
  fake_engine_configure (&config);
  Watch watch[3];
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  for (int i = 0; i < 3; i++) {
    watch_init (&watch[i]);
    vlm_stream_submit (stream, &funcs, &watch[i]);
  }
  vlm_stream_drain (stream);
  g_assert_no_error (watch[0].error);
  g_assert_error (watch[1].error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_assert_no_error (watch[2].error);
  g_assert_cmpint (watch[1].released, ==, 1);
  vlm_stream_free (stream);
  vlm_engine_unref (engine);
  for (int i = 0; i < 3; i++)
    watch_clear (&watch[i]);
}

/* Two streams with three requests each alternate, one with one joins in. */
static void
test_turns (void)
{
  FakeConfig config;
  fake_engine_config_init (&config);
  config.batch = 1;
  fake_engine_configure (&config);
  g_autoptr (GString) journal = g_string_new (NULL);
  Watch watch[3];
  VlmStream *stream[3];
  VlmEngine *engine = open_engine (TRUE);
  fake_engine_hold (TRUE);
  for (int s = 0; s < 3; s++) {
    watch_init (&watch[s]);
    watch[s].journal = journal;
    watch[s].letter = 'a' + s;
    stream[s] = vlm_stream_new (engine);
  }
  for (int i = 0; i < 3; i++)
    vlm_stream_submit (stream[0], &funcs, &watch[0]);
  for (int i = 0; i < 3; i++)
    vlm_stream_submit (stream[1], &funcs, &watch[1]);
  vlm_stream_submit (stream[2], &funcs, &watch[2]);
  fake_engine_hold (FALSE);
  for (int s = 0; s < 3; s++)
    vlm_stream_drain (stream[s]);
  g_assert_cmpstr (journal->str, ==, "abcabab");
  g_assert_cmpint (counters ().most_running, ==, 1);
  for (int s = 0; s < 3; s++) {
    vlm_stream_free (stream[s]);
    watch_clear (&watch[s]);
  }
  vlm_engine_unref (engine);
}

static void
test_batch (void)
{
  Watch watch[4];
  VlmStream *stream[4];
  VlmEngine *engine = open_engine (TRUE);
  fake_engine_hold (TRUE);
  for (int s = 0; s < 4; s++) {
    watch_init (&watch[s]);
    stream[s] = vlm_stream_new (engine);
    vlm_stream_submit (stream[s], &funcs, &watch[s]);
  }
  fake_engine_hold (FALSE);
  for (int s = 0; s < 4; s++) {
    vlm_stream_drain (stream[s]);
    g_assert_cmpstr (watch[s].text, ==, "a red circle on the left");
    vlm_stream_free (stream[s]);
    watch_clear (&watch[s]);
  }
  g_assert_cmpint (counters ().most_running, ==, 4);
  vlm_engine_unref (engine);
}

/* Freed while a request runs and another waits: every done comes first. */
static void
test_free_running (void)
{
  Watch watch;
  watch_init (&watch);
  VlmEngine *engine = open_engine (TRUE);
  VlmStream *stream = vlm_stream_new (engine);
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_drain (stream);
  fake_engine_hold (TRUE);
  vlm_stream_submit (stream, &funcs, &watch);
  vlm_stream_submit (stream, &funcs, &watch);
  fake_engine_wait_for (begun, 2);
  vlm_engine_unref (engine);
  vlm_stream_free (stream);
  g_assert_cmpint (watch.ended, ==, 3);
  g_assert_cmpint (watch.fetched, ==, watch.released);
  g_assert_cmpint (counters ().alive, ==, 0);
  watch_clear (&watch);
}

static void
test_storm (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);
  for (int round = 0; round < 60; round++) {
    Watch watch;
    watch_init (&watch);
    VlmEngine *engine = open_engine (round & 1);
    VlmStream *stream = vlm_stream_new (engine);
    int n = g_rand_int_range (rand, 1, 6);
    for (int i = 0; i < n; i++) {
      vlm_stream_submit (stream, &funcs, &watch);
      if (g_rand_boolean (rand))
        vlm_stream_cancel (stream, g_rand_int_range (rand, 0, n));
    }
    if (g_rand_boolean (rand))
      g_usleep (g_rand_int_range (rand, 0, 500));
    vlm_stream_free (stream);
    g_assert_cmpint (watch.ended, ==, n);
    g_assert_cmpint (watch.fetched, ==, watch.released);
    vlm_engine_unref (engine);
    watch_clear (&watch);
  }
  g_assert_cmpint (counters ().alive, ==, 0);
}

/* Each test begins with the defaults. */
static void
run (gconstpointer test)
{
  fake_engine_reset ();
  (*(void (*const *) (void)) test) ();
}

static const struct {
  const char *path;
  void (*test) (void);
} tests[] = {
  { "/scheduler/one", test_one },
  { "/scheduler/length", test_length },
  { "/scheduler/sharing", test_sharing },
  { "/scheduler/load-joined", test_load_joined },
  { "/scheduler/load-left", test_load_left },
  { "/scheduler/load-fails", test_load_fails },
  { "/scheduler/cancel-running", test_cancel_running },
  { "/scheduler/cancel-waiting", test_cancel_waiting },
  { "/scheduler/free-waiting", test_free_waiting },
  { "/scheduler/withdrawn", test_withdrawn },
  { "/scheduler/request-fails", test_request_fails },
  { "/scheduler/turns", test_turns },
  { "/scheduler/batch", test_batch },
  { "/scheduler/free-running", test_free_running },
  { "/scheduler/storm", test_storm },
};

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add_data_func (tests[i].path, &tests[i].test, run);
  return g_test_run ();
}
