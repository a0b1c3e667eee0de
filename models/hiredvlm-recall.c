/* hiredvlm-recall.c - how much of what a layer looks at TidalDecode shows it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   hiredvlm-recall --tidal-tokens 14,29,72 quiz.json
 *
 * Asks a quiz with full attention and, beside every step, makes the choices of
 * every layer. Recall of a layer's query head in a step: of the k keys it
 * scores highest itself, the share that is in the list it would be given by
 * the selection layer or, past it, by the re-selection layer. Prints the mean
 * over sparse layers, heads and steps for each re-selection layer there can
 * be, which is how the best one is found for a model that has none known.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/error.h"
#include "engine/runner.h"
#include "engine/tidal.h"
#include "models/quiz.h"

#define N_GROUPS 3

static const char *const group_names[N_GROUPS] = { "kv", "query", "pages" };

typedef struct {
  VlmRunner *runner;
  const VlmTextConfig *text;
  int tokens;
  float *scores; /* device */
  int *lists;
  int *table;    /* a table on the host */
  guint8 *shown; /* [groups,layers,heads,kv_len] */
  int n_keys;    /* most */
  double *sum;   /* [groups,layers: re-selection] */
  guint64 n_steps;
  gboolean counts; /* the step under way is one of a single token */
} Recall;

static guint8 *
shown_to (const Recall *r, int group, int layer, int head)
{
  const VlmTextConfig *t = r->text;

  return r->shown +
         (((gsize) group * t->layers + layer) * t->heads + head) * r->n_keys;
}

/* Marks what the list of a head says. */
static void
mark (const Recall *r, int group, int layer, const KeyChoice *choice, int n,
    int stride)
{
  const VlmTextConfig *t = r->text;
  int size = group == VLM_TIDAL_PAGES ? KV_PAGE_TOKENS : 1;
  int n_listed = MIN (choice->n_most, (n + size - 1) / size);

  for (int head = 0; head < t->heads; head++) {
    int in_group = t->heads / t->kv_heads;
    int row = group == VLM_TIDAL_QUERY ? head : head / in_group * in_group;
    const int *list = r->table + (gsize) row * stride;
    guint8 *shown = shown_to (r, group, layer, head);

    memset (shown, 0, r->n_keys);
    for (int i = 0; i < n_listed; i++)
      for (int j = list[i] * size; j < MIN ((list[i] + 1) * size, n); j++)
        shown[j] = 1;
  }
}

/* Of what a layer's heads would choose, the share that `given` shows them. */
static double
share (const Recall *r, int group, int given, int layer, int n)
{
  int heads = r->text->heads, common = 0, all = 0;

  for (int head = 0; head < heads; head++) {
    const guint8 *own = shown_to (r, VLM_TIDAL_QUERY, layer, head);
    const guint8 *other = shown_to (r, group, given, head);

    for (int j = 0; j < n; j++) {
      all += own[j];
      common += own[j] && other[j];
    }
  }
  return (double) common / all;
}

static void
add_step (Recall *r, int n)
{
  int layers = r->text->layers, select = VLM_TIDAL_SELECT_LAYER;

  for (int group = 0; group < N_GROUPS; group++)
    for (int again = select; again < layers; again++) {
      double sum = 0;
      int n_sparse = 0;

      for (int layer = select + 1; layer < layers; layer++) {
        if (layer == again)
          continue;
        sum += share (r, group,
            again > select && layer > again ? again : select, layer, n);
        n_sparse++;
      }
      r->sum[group * layers + again] += sum / n_sparse;
    }
  r->n_steps++;
}

/* One layer's queries of a step, before its attention. */
static void
watch (Device *dev, int layer, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, gpointer user_data)
{
  Recall *r = user_data;
  const VlmTextConfig *t = r->text;
  int h = t->heads, k = t->kv_heads, c = t->head_width, n = batch->max_kv_len;
  int stride = (n + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;

  if (layer == VLM_TIDAL_SELECT_LAYER) /* of a prompt the last has one too */
    r->counts = batch->n == 1 && n > r->tokens;
  if (!r->counts || layer < VLM_TIDAL_SELECT_LAYER)
    return;
  for (int group = 0; group < N_GROUPS; group++) {
    const VlmTidal tidal = { .group = group, .tokens = r->tokens };
    KeyChoice choice = vlm_tidal_choice (&tidal);

    dev->op->key_scores (dev, r->scores, q, kv, batch, choice.group, h, k, c,
        1 / sqrtf (c), t->window ? t->window[layer] : 0);
    dev->op->choose_keys (dev, r->lists, r->scores, batch, &choice, h, k);
    device_download (
        dev, r->table, r->lists, (gsize) stride * h * sizeof (int));
    mark (r, group, layer, &choice, n, stride);
  }
  if (layer == t->layers - 1)
    add_step (r, n);
}

static void
no_read (VlmJob *job)
{
}

static gboolean
go_on (int percent, gpointer user_data)
{
  return TRUE;
}

static gboolean
ask (Recall *r, const Quiz *quiz, guint number, GError **error)
{
  const QuizQuestion *question = quiz->questions->pdata[number];
  VlmJob job = { .read = no_read, .stream = 1 }, *jobs = &job;

  vlm_settings_init (&job.task.settings);
  vlm_settings_set_policy (&job.task.settings, vlm_policy_find ("all"));
  job.task.settings.reuse = 0;
  job.task.settings.prompt = g_strdup (question->prompt);
  job.task.picture = *(VlmPicture *) quiz->pictures->pdata[question->picture];
  if (!vlm_runner_begin (r->runner, &job, &job.error))
    job.ended = TRUE;
  while (!job.ended)
    vlm_runner_step (r->runner, &jobs, 1);
  vlm_runner_end (r->runner, &job);
  vlm_settings_clear (&job.task.settings);
  if (!job.error)
    return TRUE;
  g_propagate_error (error, job.error);
  return FALSE;
}

static void
print_recall (const Recall *r)
{
  int layers = r->text->layers;

  printf ("%d tokens, %" G_GUINT64_FORMAT " steps; re-selection layer, recall "
          "of kv, query, pages\n",
      r->tokens, r->n_steps);
  for (int again = VLM_TIDAL_SELECT_LAYER; again < layers; again++) {
    if (again == VLM_TIDAL_SELECT_LAYER)
      printf ("none");
    else
      printf ("%4d", again);
    for (int group = 0; group < N_GROUPS; group++)
      printf ("  %s %.3f", group_names[group],
          r->sum[group * layers + again] / MAX (r->n_steps, 1));
    putchar ('\n');
  }
  fflush (stdout);
}

static gboolean
measure (Recall *r, const Quiz *quiz, GError **error)
{
  const VlmTextConfig *t = r->text;
  Device *dev = vlm_runner_device (r->runner);
  VlmEngineInfo info;
  gboolean done = TRUE;

  vlm_runner_info (r->runner, &info);
  r->n_keys = (info.context + KV_PAGE_TOKENS) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
  gsize count = (gsize) r->n_keys * t->heads;
  r->scores = device_alloc (dev, count * sizeof (float));
  r->lists = device_alloc (dev, count * sizeof (int));
  r->table = g_new (int, count);
  r->shown = g_new0 (guint8, count * N_GROUPS * t->layers);
  r->sum = g_new0 (double, N_GROUPS * t->layers);
  r->n_steps = 0;
  vlm_decoder_watch (vlm_runner_decoder (r->runner), watch, r);
  for (guint i = 0; i < quiz->questions->len && done; i++)
    done = ask (r, quiz, i, error);
  vlm_decoder_watch (vlm_runner_decoder (r->runner), NULL, NULL);
  if (done)
    print_recall (r);
  device_free (dev, r->scores);
  device_free (dev, r->lists);
  g_free (r->table);
  g_free (r->shown);
  g_free (r->sum);
  return done;
}

static gboolean
run (const char *model, const char *tokens, int pictures, const char *file,
    GError **error)
{
  VlmOpenOptions options = { .path = model };
  g_auto (GStrv) budgets = g_strsplit (tokens, ",", -1);
  g_autofree char *found = model ? NULL : vlm_engine_default_model ();
  g_autoptr (Quiz) quiz = quiz_read (file, error);

  if (!quiz)
    return FALSE;
  if (pictures > 0)
    quiz_truncate (quiz, pictures);
  options.path = model ? model : found;
  if (!options.path) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
        "The shipped model is not installed; name one with --model.");
    return FALSE;
  }
  g_autoptr (VlmRunner) runner = vlm_runner_open (&options, error);
  if (!runner || !vlm_runner_plan (runner, error) ||
      !vlm_runner_load (runner, go_on, NULL, error))
    return FALSE;
  Recall recall = { .runner = runner, .text = vlm_runner_text (runner) };
  gboolean done = TRUE;
  for (int i = 0; budgets[i] && done; i++) {
    recall.tokens = MAX (atoi (budgets[i]), VLM_TIDAL_MIN_TOKENS);
    done = measure (&recall, quiz, error);
  }
  vlm_runner_unload (runner);
  return done;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *model = NULL, *tokens = NULL;
  int pictures = 0;
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &model,
        "checkpoint folder (default: the shipped model)", "FOLDER" },
    { "tidal-tokens", 0, 0, G_OPTION_ARG_STRING, &tokens, "keys chosen (64)",
        "K,L" },
    { "pictures", 0, 0, G_OPTION_ARG_INT, &pictures,
        "of so many pictures (all)", "N" },
    { NULL },
  };
  g_autoptr (GOptionContext) context =
      g_option_context_new ("QUIZ.json - recall of chosen keys");

  g_option_context_add_main_entries (context, entries, NULL);
  gboolean done = g_option_context_parse (context, &argc, &argv, &error);
  if (done && argc != 2) {
    done = FALSE;
    g_set_error (
        &error, VLM_ERROR, VLM_ERROR_SETTINGS, "One quiz file was expected.");
  }
  done = done && run (model, tokens ? tokens : "64", pictures, argv[1], &error);
  if (!done)
    fprintf (stderr, "hiredvlm-recall: %s\n", error->message);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
