/* accuracy.c - the shipped model and every policy on a few held-out scenes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Floors are loose: what they catch is a policy that keeps the wrong tokens,
 * or an engine that answers nonsense. models/evaluate measures. Under a
 * sanitizer (mode quick) a few policies see a few pictures, without floors.
 */
#include <glib.h>

#include "engine/numbers.h"
#include "models/quiz.h"

typedef struct {
  const char *policy;
  double budget;
  double objects, words; /* floors; words: all but those never trained on */
} Floor;

static const Floor floors[] = {
  { "all", 1, 0.85, 0.8 },
  { "hired", 0.2, 0.8, 0.7 },
  { "hired-reference", 0.2, 0.7, 0.4 },
  { "hired-plus", 0.2, 0.8, 0.75 },
  { "prumerge", 0.2, 0.1, 0 },
  { "prumerge-plus", 0.2, 0.3, 0 },
  { "visionzip", 0.2, 0.7, 0.6 },
  { "fastervlm", 0.2, 0.75, 0.65 },
  { "uniform", 0.2, 0.5, 0 },
  { "random", 0.2, 0.45, 0 },
};

typedef struct {
  Quiz *quiz;
  VlmEngine *engine;
} Room;

static double
accuracy (const Quiz *quiz, const QuizResult *result, const char *kind)
{
  guint i;

  g_assert_true (
      g_ptr_array_find_with_equal_func (quiz->kinds, kind, g_str_equal, &i));
  QuizScore score = quiz_total (quiz, result, i);
  return score.right / MAX (score.of, 1);
}

static void
ask (const Room *room, const char *policy, double budget, QuizResult *result)
{
  g_autoptr (GError) error = NULL;
  VlmSettings settings;

  vlm_settings_init (&settings);
  g_assert_nonnull (vlm_policy_find (policy));
  vlm_settings_set_policy (&settings, vlm_policy_find (policy));
  settings.token_budget = budget;
  quiz_run (room->quiz, room->engine, &settings, 4, result, &error);
  g_assert_no_error (error);
}

static void
test_floors (gconstpointer data)
{
  const Room *room = data;

  for (guint i = 0; i < G_N_ELEMENTS (floors); i++) {
    const Floor *f = &floors[i];
    QuizResult result;

    if (!g_test_slow () && i % 3)
      continue;
    ask (room, f->policy, f->budget, &result);
    double objects = accuracy (room->quiz, &result, "objects");
    double words = accuracy (room->quiz, &result, "words");
    g_test_message ("%s %g: objects %.3f words %.3f tokens %.0f", f->policy,
        f->budget, objects, words, result.tokens);
    if (g_test_slow ()) {
      g_assert_cmpfloat (objects, >=, f->objects);
      g_assert_cmpfloat (words, >=, f->words);
    }
    quiz_result_clear (&result);
  }
}

/* A policy that is not in the table would go unmeasured. */
static void
test_complete (void)
{
  for (int i = 0; vlm_policies[i]; i++) {
    gboolean known = FALSE;

    for (guint k = 0; k < G_N_ELEMENTS (floors); k++)
      known |= g_str_equal (floors[k].policy, vlm_policies[i]->name);
    g_assert_true (known);
  }
}

/* Answers do not depend on how many are asked at a time. */
static void
test_lanes (gconstpointer data)
{
  const Room *room = data;
  g_autoptr (GError) error = NULL;
  QuizResult one, many;
  VlmSettings settings;

  vlm_settings_init (&settings);
  quiz_run (room->quiz, room->engine, &settings, 1, &one, &error);
  g_assert_no_error (error);
  quiz_run (room->quiz, room->engine, &settings, 7, &many, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < room->quiz->questions->len; i++)
    g_assert_cmpstr (one.answers[i], ==, many.answers[i]);
  quiz_result_clear (&one);
  quiz_result_clear (&many);
}

static void
check_score (const char *expect, const char *of, const char *answer,
    double right, double total)
{
  QuizCheck check = { "kind", g_strsplit (expect, ",", -1),
    *of ? g_strsplit (of, ",", -1) : NULL };
  QuizScore score = quiz_check (&check, answer);

  g_assert_cmpfloat (score.right, ==, right);
  g_assert_cmpfloat (score.of, ==, total);
  g_strfreev (check.expect);
  g_strfreev (check.of);
}

static void
test_scoring (void)
{
  check_score ("red circle,red circle", "", "A red circle.", 1, 2);
  check_score ("red circle", "circle,star", "A Red circle, a star.", 1, 2);
  check_score ("red circle", "circle,star", "Nothing.", 0, 1);
  check_score ("two.", "", "At the top, on the left: two.", 1, 1);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_test_init (&argc, &argv, NULL);
  g_autofree char *file =
      g_test_build_filename (G_TEST_DIST, "quiz", "quiz.json", NULL);
  g_autoptr (Quiz) quiz = quiz_read (file, &error);
  g_assert_no_error (error);
  if (!g_test_slow ())
    quiz_truncate (quiz, 2);
  const char *weights = g_getenv ("HIREDVLM_WEIGHTS");
  VlmOpenOptions options = { .device = g_getenv ("HIREDVLM_DEVICE") };
  vlm_numbers_parse (&options.weights, weights ? weights : "auto", &error);
  g_assert_no_error (error);
  g_autoptr (VlmEngine) engine = vlm_engine_open (&options, &error);
  g_assert_no_error (error);
  Room room = { quiz, engine };

  g_test_add_func ("/accuracy/scoring", test_scoring);
  g_test_add_func ("/accuracy/complete", test_complete);
  g_test_add_data_func ("/accuracy/floors", &room, test_floors);
  g_test_add_data_func ("/accuracy/lanes", &room, test_lanes);
  return g_test_run ();
}
