/* tidal-shipped.c - TidalDecode in the shipped model, from picture to text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <string.h>

#include "engine/error.h"
#include "models/quiz.h"

#define WIDE 100000 /* tokens: more than any context */
#define PICTURES 3  /* where any will do */
#define NEEDLES 6   /* pictures with words */

typedef struct {
  Quiz *quiz;
  VlmEngine *engine;
} Room;

static Quiz *
read_quiz (guint n_pictures)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *file =
      g_test_build_filename (G_TEST_DIST, "quiz", "quiz.json", NULL);
  Quiz *quiz = quiz_read (file, &error);

  g_assert_no_error (error);
  quiz_truncate (quiz, n_pictures);
  return quiz;
}

static void
tidal_settings (VlmSettings *settings, VlmTidalGroup group, int tokens)
{
  vlm_settings_init (settings);
  vlm_settings_set_policy (settings, vlm_policy_find ("all"));
  settings->max_tokens = 40;
  settings->decode_attention = VLM_DECODE_TIDAL;
  settings->tidal.group = group;
  settings->tidal.tokens = tokens;
}

static void
ask (const Room *room, const VlmSettings *settings, int lanes,
    QuizResult *result)
{
  g_autoptr (GError) error = NULL;

  quiz_run (room->quiz, room->engine, settings, lanes, result, &error);
  g_assert_no_error (error);
}

static void
expect_same (const Room *room, const QuizResult *a, const QuizResult *b)
{
  for (guint i = 0; i < room->quiz->questions->len; i++)
    g_assert_cmpstr (a->answers[i], ==, b->answers[i]);
}

/* With a budget no smaller than the context the text is that of full
 * attention. */
static void
test_wide (gconstpointer data)
{
  const Room *room = data;
  QuizResult full, tidal;
  VlmSettings settings;

  tidal_settings (&settings, VLM_TIDAL_KV, WIDE);
  settings.decode_attention = VLM_DECODE_FULL;
  ask (room, &settings, 4, &full);
  for (VlmTidalGroup group = VLM_TIDAL_KV; group <= VLM_TIDAL_PAGES; group++) {
    tidal_settings (&settings, group, WIDE);
    ask (room, &settings, 4, &tidal);
    expect_same (room, &full, &tidal);
    quiz_result_clear (&tidal);
  }
  quiz_result_clear (&full);
}

/* Answers do not depend on how many are asked at a time, nor on what is used
 * of the last one, with tokens read again now and then as well. */
static void
test_company (gconstpointer data)
{
  const Room *room = data;
  QuizResult one, other;
  VlmSettings settings;

  for (int every = 0; every <= 3; every += 3) {
    tidal_settings (&settings, VLM_TIDAL_KV, 30);
    settings.tidal.correct_every = every;
    ask (room, &settings, 1, &one);
    settings.reuse = 0;
    ask (room, &settings, 7, &other);
    expect_same (room, &one, &other);
    quiz_result_clear (&other);
    quiz_result_clear (&one);
  }
}

static void
test_refused (gconstpointer data)
{
  const Room *room = data;
  VlmSettings settings;

  for (int fault = 0; fault < 2; fault++) {
    g_autoptr (GError) error = NULL;
    QuizResult result;

    tidal_settings (&settings, VLM_TIDAL_KV, fault ? 1 : 30);
    settings.tidal.reselect_layer = fault ? 0 : 99;
    g_assert_false (
        quiz_run (room->quiz, room->engine, &settings, 1, &result, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
    g_assert_true (g_str_has_prefix (error->message, "decode-attention"));
    quiz_result_clear (&result);
  }
}

/* Only what is asked about words, over and over. */
static void
ask_for_words (Quiz *quiz)
{
  for (guint i = quiz->questions->len; i-- > 0;) {
    QuizQuestion *q = quiz->questions->pdata[i];
    GString *prompt = g_string_new (NULL);

    if (!strstr (q->prompt, "text")) {
      g_ptr_array_remove_index (quiz->questions, i);
      continue;
    }
    for (int k = 0; k < 5; k++)
      g_string_append_printf (prompt, "%s ", q->prompt);
    g_string_append (prompt, q->prompt);
    g_free (q->prompt);
    q->prompt = g_string_free (prompt, FALSE);
  }
}

/* The words on the plates are needles, the picture and a prompt that says the
 * same thing over and over the haystack. What full attention reads is mostly
 * read by a third of the context too. */
static void
test_needle (gconstpointer data)
{
  g_autoptr (Quiz) quiz = read_quiz (NEEDLES);
  const Room own = { quiz, ((const Room *) data)->engine }, *room = &own;
  QuizResult full, tidal;
  VlmSettings settings;
  int n_full = 0, n_tidal = 0;

  ask_for_words (quiz);
  tidal_settings (&settings, VLM_TIDAL_KV, WIDE);
  settings.decode_attention = VLM_DECODE_FULL;
  ask (room, &settings, 4, &full);
  tidal_settings (&settings, VLM_TIDAL_KV, (int) full.prompt_tokens / 3);
  ask (room, &settings, 4, &tidal);
  for (guint i = 0; i < room->quiz->questions->len; i++) {
    const QuizQuestion *q = room->quiz->questions->pdata[i];

    for (guint c = 0; c < q->checks->len; c++) {
      n_full += quiz_check (q->checks->pdata[c], full.answers[i]).right;
      n_tidal += quiz_check (q->checks->pdata[c], tidal.answers[i]).right;
    }
  }
  g_test_message ("of prompts of %.0f tokens: %d right, with a third %d",
      full.prompt_tokens, n_full, n_tidal);
  g_assert_cmpint (n_full, >, 0);
  g_assert_cmpint (3 * n_tidal, >=, 2 * n_full);
  quiz_result_clear (&full);
  quiz_result_clear (&tidal);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_test_init (&argc, &argv, NULL);
  g_autoptr (Quiz) quiz = read_quiz (PICTURES);
  const VlmOpenOptions options = { .device = g_getenv ("HIREDVLM_DEVICE"),
    .threads = 1 };
  g_autoptr (VlmEngine) engine = vlm_engine_open (&options, &error);
  g_assert_no_error (error);
  Room room = { quiz, engine };

  g_test_add_data_func ("/tidal/shipped/wide", &room, test_wide);
  g_test_add_data_func ("/tidal/shipped/company", &room, test_company);
  g_test_add_data_func ("/tidal/shipped/refused", &room, test_refused);
  g_test_add_data_func ("/tidal/shipped/needle", &room, test_needle);
  return g_test_run ();
}
