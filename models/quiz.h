/* quiz.h - questions about pictures, asked of a model and scored
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A quiz is a JSON file beside its pictures:
 *
 *   {"pictures": [{"file": "0.png", "questions": [
 *     {"prompt": "Describe the picture.", "checks": [
 *       {"kind": "objects", "expect": ["red circle", "blue star"],
 *        "of": ["circle", "square", "triangle", "star", "cross"]}]}]}]}
 *
 * A check is right as often as its expected strings stand in the answer, out
 * of as many as were expected or said, whichever is more: every occurrence of
 * an `of` string is one thing said. Letter case does not count.
 */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct {
  char *kind;
  char **expect, **of; /* of: NULL if only what is expected counts */
} QuizCheck;

typedef struct {
  char *prompt;
  GPtrArray *checks; /* QuizCheck */
  guint picture;     /* which one it is about */
} QuizQuestion;

typedef struct {
  GPtrArray *pictures;  /* VlmPicture, pixels owned */
  GPtrArray *questions; /* QuizQuestion, picture by picture */
  GPtrArray *kinds;     /* names in order of appearance */
} Quiz;

/* Reads the file and its pictures (PNG). */
Quiz *quiz_read (const char *file, GError **error);
void quiz_free (Quiz *quiz);

/* Forgets all pictures but the first n, and what is asked about them. */
void quiz_truncate (Quiz *quiz, guint n);

typedef struct {
  double right, of;
} QuizScore;

typedef struct {
  char **answers;       /* [n_questions + 1], NULL-terminated */
  QuizScore *scores;    /* [n_kinds, n_pictures] */
  double tokens;        /* visual tokens kept, mean of the questions */
  double prompt_tokens; /* all of them, mean */
  double fine_tokens;   /* FlexAttention: a new token looked at in a
                         * hierarchical layer, mean */
  double cache_bytes;   /* keys and values of a prompt, mean */
} QuizResult;

/* How often one answer is right, and out of how many. */
QuizScore quiz_check (const QuizCheck *check, const char *answer);

/* Asks everything with these settings (their prompt is ignored), `lanes`
 * questions at a time. */
gboolean quiz_run (const Quiz *quiz, VlmEngine *engine,
    const VlmSettings *settings, int lanes, QuizResult *result, GError **error);
void quiz_result_clear (QuizResult *result);

/* Milliseconds of the first question about a picture, one at a time and with
 * nothing to use again; the mean of a few. */
double quiz_time (
    const Quiz *quiz, VlmEngine *engine, const VlmSettings *settings);

/* Sum over all pictures. */
QuizScore quiz_total (const Quiz *quiz, const QuizResult *result, guint kind);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Quiz, quiz_free)

G_END_DECLS
