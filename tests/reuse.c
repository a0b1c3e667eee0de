/* reuse.c - what a stream remembers changes no text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every request is made twice: with all that its stream remembers, and with
 * nothing. Texts, ids and kept tokens are the same, and the hits are counted.
 */
#include <string.h>
#include "engine/engine.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define SIDE 60

static char *folder;

typedef struct {
  int picture;        /* number of what is painted */
  const char *prompt; /* or NULL */
  const char *policy; /* or NULL: hired */
  double budget;
  VlmPositions positions;
  double temperature;
  VlmReuse reuse;
  int cancel_at; /* tokens, or 0 */
} Wish;

typedef struct {
  const Wish *wish;
  VlmStream *stream;
  guint8 pixels[SIDE * SIDE * 3];
  char *text;
  GArray *kept;
  VlmResult result; /* numbers only */
  gboolean failed;
} Answer;

/* Pictures 0 to 9 differ all over, i + 10 from i in a corner only. */
static void
paint (guint8 *pixels, int i)
{
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++)
      for (int c = 0; c < 3; c++)
        pixels[(y * SIDE + x) * 3 + c] =
            (guint8) (x * (3 + i % 10) + y * (c + 1) + (x ^ (i % 10 * 7)) * y);
  if (i >= 10)
    memset (pixels, 255, 3);
}

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  Answer *answer = user_data;
  const Wish *wish = answer->wish;
  VlmSettings *settings = &task->settings;
  paint (answer->pixels, wish->picture);
  task->picture = (VlmPicture){ answer->pixels, SIDE, SIDE, SIDE * 3, 1, 1 };
  if (wish->policy)
    vlm_settings_set_policy (settings, vlm_policy_find (wish->policy));
  settings->prompt = g_strdup (wish->prompt);
  settings->token_budget = wish->budget;
  settings->positions = wish->positions;
  settings->sampling.temperature = wish->temperature;
  settings->sampling.seed = 5;
  settings->max_tokens = 24;
  settings->reuse = wish->reuse;
  settings->detail = TRUE;
  return TRUE;
}

static void
on_text (const VlmResult *so_far, gpointer user_data)
{
  Answer *answer = user_data;
  int at = answer->wish->cancel_at;
  if (at && so_far->tokens >= at)
    vlm_stream_cancel (answer->stream, 0);
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Answer *answer = user_data;
  answer->failed = error != NULL;
  if (error)
    return;
  answer->result = *result;
  answer->text = g_strdup (result->text);
  answer->kept = g_array_new (FALSE, FALSE, sizeof (int));
  g_array_append_vals (answer->kept, result->kept_ids, result->n_kept);
}

static const VlmRequestFuncs funcs = { on_fetch, NULL, on_text, on_done };

static Answer *
submit (VlmStream *stream, const Wish *wish)
{
  Answer *answer = g_new0 (Answer, 1);
  answer->wish = wish;
  answer->stream = stream;
  vlm_stream_submit (stream, &funcs, answer);
  return answer;
}

static void
answer_free (Answer *answer)
{
  g_free (answer->text);
  g_clear_pointer (&answer->kept, g_array_unref);
  g_free (answer);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Answer, answer_free)

/* or as ENGINE_DEVICE says, in 16 bits */
static const char *on_device = "cpu";
static VlmWeightType on_weights = VLM_WEIGHTS_AUTO;

static VlmEngine *
open_model (void)
{
  VlmOpenOptions options = {
    .path = folder,
    .device = on_device,
    .weights = on_weights,
    .threads = 1,
  };
  g_autoptr (GError) error = NULL;
  VlmEngine *engine = vlm_engine_open (&options, &error);
  g_assert_no_error (error);
  return engine;
}

static Answer *
ask (VlmStream *stream, const Wish *wish)
{
  Answer *answer = submit (stream, wish);
  vlm_stream_drain (stream);
  return answer;
}

/* The same wish where nothing is remembered. */
static Answer *
ask_anew (VlmEngine *engine, const Wish *wish)
{
  g_autoptr (VlmStream) stream = vlm_stream_new (engine);
  Wish bare = *wish;
  bare.reuse = 0;
  bare.cancel_at = 0;
  Answer *answer = ask (stream, &bare);
  g_assert_false (answer->failed);
  g_assert_cmpint (answer->result.tiles_reused, ==, 0);
  g_assert_cmpint (answer->result.tokens_reused, ==, 0);
  g_assert_cmpint (answer->result.tokens_drafted, ==, 0);
  return answer;
}

static void
check_alike (const Answer *a, const Answer *b)
{
  g_assert_cmpint (a->failed, ==, b->failed);
  g_assert_cmpstr (a->text, ==, b->text);
  g_assert_cmpint (a->result.tokens, ==, b->result.tokens);
  g_assert_cmpint (a->result.prompt_tokens, ==, b->result.prompt_tokens);
  g_assert_cmpmem (a->kept->data, a->kept->len * sizeof (int), b->kept->data,
      b->kept->len * sizeof (int));
}

/* Asks and compares; returns the numbers. */
static VlmResult
check (VlmStream *stream, VlmEngine *engine, const Wish *wish)
{
  g_autoptr (Answer) answer = ask (stream, wish);
  g_autoptr (Answer) anew = ask_anew (engine, wish);
  check_alike (answer, anew);
  return answer->result;
}

static void
test_hits (void)
{
  g_autoptr (VlmEngine) engine = open_model ();
  g_autoptr (VlmStream) stream = vlm_stream_new (engine);
  Wish wish = {
    .picture = 1, .policy = "all", .budget = 1, .reuse = VLM_REUSE_ALL
  };
  VlmResult first = check (stream, engine, &wish);
  g_assert_cmpint (first.tiles_reused, ==, 0);
  g_assert_cmpint (first.tokens_reused, ==, 0);
  g_assert_cmpint (first.tokens_drafted, ==, 0);

  /* A still scene. */
  VlmResult again = check (stream, engine, &wish);
  g_assert_cmpint (again.tiles_reused, ==, 5);
  g_assert_cmpint (again.tokens_reused, ==, again.prompt_tokens - 1);
  /* The first is the prompt's, the last of a step comes with the draft. */
  g_assert_cmpint (again.tokens_drafted, ==, again.tokens - 2);

  /* A corner: the whole picture's tile and one of four are new. */
  wish.picture = 11;
  VlmResult corner = check (stream, engine, &wish);
  g_assert_cmpint (corner.tiles_reused, ==, 3);
  g_assert_cmpint (corner.tokens_reused, >, 0);
  g_assert_cmpint (corner.tokens_reused, <, 10);

  /* Another question about it: the cache is good past the picture. */
  wish.prompt = "What is on the left?";
  VlmResult other = check (stream, engine, &wish);
  g_assert_cmpint (other.tiles_reused, ==, 5);
  g_assert_cmpint (other.tokens_reused, >, other.image_tokens);
  g_assert_cmpint (other.tokens_reused, <, other.prompt_tokens - 1);

  /* Other tokens of it. */
  wish.policy = "hired";
  wish.budget = 0.4;
  VlmResult fewer = check (stream, engine, &wish);
  g_assert_cmpint (fewer.tiles_reused, >, 0);
  g_assert_cmpint (fewer.tokens_reused, <, 10);
}

/* Each kind alone. */
static void
test_switches (void)
{
  g_autoptr (VlmEngine) engine = open_model ();
  for (int kind = 0; kind < 3; kind++) {
    g_autoptr (VlmStream) stream = vlm_stream_new (engine);
    Wish wish = { .picture = 2, .budget = 0.5, .reuse = 1 << kind };
    check (stream, engine, &wish);
    VlmResult again = check (stream, engine, &wish);
    g_assert_cmpint (again.tiles_reused > 0, ==, kind == 0);
    g_assert_cmpint (again.tokens_reused > 0, ==, kind == 1);
    g_assert_cmpint (again.tokens_drafted > 0, ==, kind == 2);
  }
}

#define N_STREAMS 12 /* more than sequences that decode together */
#define ROUNDS 12

static Wish
random_wish (void)
{
  static const char *const prompts[] = { NULL, "What is on the left?",
    "What is on the right?" };
  static const char *const policies[] = { "hired", "all", "prumerge-plus",
    "visionzip", "hired-plus" };
  Wish wish = {
    .picture = g_test_rand_int_range (0, 3) + 10 * g_test_rand_bit (),
    .prompt = prompts[g_test_rand_int_range (0, 3)],
    .policy = policies[g_test_rand_int_range (0, G_N_ELEMENTS (policies))],
    .budget = g_test_rand_bit () ? 0.2 : 0.5,
    .positions =
        g_test_rand_bit () ? VLM_POSITIONS_CLOSED : VLM_POSITIONS_WHOLE,
    .temperature = g_test_rand_int_range (0, 3) ? 0 : 1,
    .reuse = g_test_rand_bit () ? VLM_REUSE_ALL : g_test_rand_int_range (0, 8),
    .cancel_at = g_test_rand_int_range (0, 6) ? 0 : 4,
  };
  return wish;
}

/* Streams side by side, each with its own sequence of wishes; a cancelled one
 * has a beginning of the text. */
static void
test_any (void)
{
  g_autoptr (VlmEngine) engine = open_model ();
  VlmStream *stream[N_STREAMS];
  Wish wish[N_STREAMS];
  for (int i = 0; i < N_STREAMS; i++)
    stream[i] = vlm_stream_new (engine);
  for (int round = 0; round < ROUNDS; round++) {
    Answer *answer[N_STREAMS];
    for (int i = 0; i < N_STREAMS; i++) {
      wish[i] = random_wish ();
      answer[i] = submit (stream[i], &wish[i]);
    }
    for (int i = 0; i < N_STREAMS; i++) {
      vlm_stream_drain (stream[i]);
      g_autoptr (Answer) anew = ask_anew (engine, &wish[i]);
      if (wish[i].cancel_at)
        g_assert_true (g_str_has_prefix (anew->text, answer[i]->text));
      else
        check_alike (answer[i], anew);
      answer_free (answer[i]);
    }
  }
  for (int i = 0; i < N_STREAMS; i++)
    vlm_stream_free (stream[i]);
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
  g_test_add_func ("/reuse/hits", test_hits);
  g_test_add_func ("/reuse/switches", test_switches);
  g_test_add_func ("/reuse/any", test_any);
  int status = g_test_run ();
  folder_remove (folder);
  return status;
}
