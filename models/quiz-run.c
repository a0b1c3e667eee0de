/* quiz-run.c - asks a quiz of an engine and scores the answers
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "models/quiz.h"

#include <string.h>

#include "engine/error.h"

#define TIMED 12 /* pictures */

typedef struct {
  const Quiz *quiz;
  const VlmSettings *settings;
  QuizResult *result;
  gint64 us; /* of all answers, from fetch to end */
  double tokens, prompt_tokens, fine_tokens;
  GError *error; /* of the first question that failed */
} Round;

typedef struct {
  Round *round;
  guint number;
} Turn;

static int
occurrences (const char *text, const char *wanted)
{
  int n = 0;

  for (const char *at = text; *wanted && (at = strstr (at, wanted)); n++)
    at += strlen (wanted);
  return n;
}

/* How many strings of the list before i are the same one. */
static int
repeats (char **list, int i)
{
  int n = 0;

  for (int k = 0; k < i; k++)
    n += !g_ascii_strcasecmp (list[k], list[i]);
  return n;
}

QuizScore
quiz_check (const QuizCheck *check, const char *answer)
{
  g_autofree char *said = g_ascii_strdown (answer, -1);
  QuizScore score = { 0, g_strv_length (check->expect) };
  int n_said = 0;

  for (int i = 0; check->expect[i]; i++) {
    g_autofree char *wanted = g_ascii_strdown (check->expect[i], -1);

    score.right += occurrences (said, wanted) > repeats (check->expect, i);
  }
  for (int i = 0; check->of && check->of[i]; i++) {
    g_autofree char *name = g_ascii_strdown (check->of[i], -1);

    n_said += occurrences (said, name);
  }
  score.of = MAX (score.of, n_said);
  return score;
}

static gboolean
fetch (VlmTask *task, gpointer user_data, GError **error)
{
  const Turn *turn = user_data;
  const Quiz *quiz = turn->round->quiz;
  const QuizQuestion *question = quiz->questions->pdata[turn->number];
  const VlmSettings *settings = turn->round->settings;

  vlm_settings_clear (&task->settings);
  task->settings = *settings;
  task->settings.prompt = g_strdup (question->prompt);
  task->settings.system_prompt = g_strdup (settings->system_prompt);
  task->settings.stop = g_strdupv (settings->stop);
  task->picture = *(VlmPicture *) quiz->pictures->pdata[question->picture];
  return TRUE;
}

static void
done (const VlmResult *result, const GError *error, gpointer user_data)
{
  Turn *turn = user_data;
  Round *round = turn->round;

  if (error && !round->error)
    round->error = g_error_copy (error);
  round->result->answers[turn->number] = g_strdup (error ? "" : result->text);
  if (error)
    return;
  round->us += result->total_us;
  round->tokens += result->image_tokens_kept;
  round->prompt_tokens += result->prompt_tokens;
  round->fine_tokens += result->fine_tokens;
}

/* A picture's questions go to one stream, which sees it once. */
static void
ask_all (Round *round, VlmEngine *engine, int lanes)
{
  const VlmRequestFuncs funcs = { .fetch = fetch, .done = done };
  guint n = round->quiz->questions->len;
  g_autofree Turn *turns = g_new (Turn, n);
  g_autoptr (GPtrArray) streams =
      g_ptr_array_new_with_free_func ((GDestroyNotify) vlm_stream_free);

  for (int i = 0; i < lanes; i++)
    g_ptr_array_add (streams, vlm_stream_new (engine));
  for (guint i = 0; i < n; i++) {
    const QuizQuestion *question = round->quiz->questions->pdata[i];

    turns[i] = (Turn){ round, i };
    vlm_stream_submit (
        streams->pdata[question->picture % lanes], &funcs, &turns[i]);
  }
  for (int i = 0; i < lanes; i++)
    vlm_stream_drain (streams->pdata[i]);
}

static guint
find_kind (const Quiz *quiz, const char *kind)
{
  guint i = 0;

  g_ptr_array_find_with_equal_func (quiz->kinds, kind, g_str_equal, &i);
  return i;
}

static void
add_scores (const Quiz *quiz, QuizResult *result)
{
  for (guint q = 0; q < quiz->questions->len; q++) {
    const QuizQuestion *question = quiz->questions->pdata[q];

    for (guint c = 0; c < question->checks->len; c++) {
      const QuizCheck *check = question->checks->pdata[c];
      QuizScore one = quiz_check (check, result->answers[q]);
      QuizScore *sum =
          &result->scores[find_kind (quiz, check->kind) * quiz->pictures->len +
                          question->picture];

      sum->right += one.right;
      sum->of += one.of;
    }
  }
}

gboolean
quiz_run (const Quiz *quiz, VlmEngine *engine, const VlmSettings *settings,
    int lanes, QuizResult *result, GError **error)
{
  guint n = quiz->questions->len;
  VlmEngineInfo info;
  Round round = { .quiz = quiz, .settings = settings, .result = result };

  *result = (QuizResult){ .answers = g_new0 (char *, n + 1),
    .scores = g_new0 (QuizScore, quiz->kinds->len * quiz->pictures->len) };
  ask_all (&round, engine, lanes);
  if (round.error) {
    g_propagate_error (error, round.error);
    return FALSE;
  }
  result->tokens = round.tokens / MAX (n, 1);
  result->prompt_tokens = round.prompt_tokens / MAX (n, 1);
  result->fine_tokens = round.fine_tokens / MAX (n, 1);
  vlm_engine_info (engine, &info);
  result->cache_bytes = round.prompt_tokens / MAX (n, 1) * info.cache_bytes /
                        ((double) info.batch * info.context);
  add_scores (quiz, result);
  return TRUE;
}

double
quiz_time (const Quiz *quiz, VlmEngine *engine, const VlmSettings *settings)
{
  const VlmRequestFuncs funcs = { .fetch = fetch, .done = done };
  g_autoptr (GPtrArray) answers = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (VlmStream) stream = vlm_stream_new (engine);
  VlmSettings anew = *settings;
  QuizResult result = { NULL };
  Round round = { quiz, &anew, &result };
  Turn turn = { &round, 0 };
  guint n = 0;

  g_ptr_array_set_size (answers, quiz->questions->len);
  result.answers = (char **) answers->pdata;
  anew.reuse = 0;
  for (guint i = 0; i < quiz->questions->len && n < TIMED; i++) {
    const QuizQuestion *question = quiz->questions->pdata[i];

    if (question->picture != n)
      continue;
    turn.number = i;
    vlm_stream_submit (stream, &funcs, &turn);
    vlm_stream_drain (stream);
    n++;
  }
  g_clear_error (&round.error);
  return round.us / 1e3 / MAX (n, 1);
}

void
quiz_result_clear (QuizResult *result)
{
  g_clear_pointer (&result->answers, g_strfreev);
  g_clear_pointer (&result->scores, g_free);
}

QuizScore
quiz_total (const Quiz *quiz, const QuizResult *result, guint kind)
{
  QuizScore sum = { 0, 0 };

  for (guint i = 0; i < quiz->pictures->len; i++) {
    const QuizScore *one = &result->scores[kind * quiz->pictures->len + i];

    sum.right += one->right;
    sum.of += one->of;
  }
  return sum;
}
