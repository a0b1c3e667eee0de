/* fake-engine.c - an engine without a model, for tests of what stands above
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>
#include "engine/runner.h"
#include "tests/fake-engine.h"

struct VlmRunner {
  char *key, *model, *device, *weights;
};

typedef struct {
  char **words;
  int n_words, next;
  GString *text;
  GArray *ids;
  int tile_budgets[5];
  int prompt_ids[3];
  int kept_ids[4];
  gint64 begun_us;
} FakeWork;

static GMutex lock;
static GCond changed;
static FakeConfig config;
static FakeCounters counters;
static gboolean configured, held;
static int let_through;

/* Lock held: a test need not begin with a reset. */
static FakeConfig *
settings (void)
{
  if (!configured)
    fake_engine_config_init (&config);
  configured = TRUE;
  return &config;
}

void
fake_engine_config_init (FakeConfig *c)
{
  *c = (FakeConfig){
    .batch = 4,
    .gpu = -1,
    .text = "a red circle on the left",
    .open_error = { -1, NULL },
    .load_error = { -1, NULL },
    .request_error = { -1, NULL },
    .request_error_first = 1,
    .request_error_last = G_MAXINT,
  };
}

void
fake_engine_configure (const FakeConfig *c)
{
  g_mutex_lock (&lock);
  config = *c;
  configured = TRUE;
  g_mutex_unlock (&lock);
}

void
fake_engine_reset (void)
{
  g_mutex_lock (&lock);
  fake_engine_config_init (&config);
  configured = TRUE;
  counters = (FakeCounters){ .alive = counters.alive };
  held = FALSE;
  let_through = 0;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

void
fake_engine_hold (gboolean hold)
{
  g_mutex_lock (&lock);
  held = hold;
  let_through = 0;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

void
fake_engine_let_one (void)
{
  g_mutex_lock (&lock);
  let_through++;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

void
fake_engine_counters (FakeCounters *c)
{
  g_mutex_lock (&lock);
  *c = counters;
  g_mutex_unlock (&lock);
}

gboolean
fake_engine_wait (gsize counter, int value)
{
  gint64 end = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  gboolean in_time = TRUE;
  g_mutex_lock (&lock);
  while (G_STRUCT_MEMBER (int, &counters, counter) < value && in_time)
    in_time = g_cond_wait_until (&changed, &lock, end);
  g_mutex_unlock (&lock);
  return in_time;
}

static gboolean
any_cancelled (VlmJob **jobs, int n)
{
  for (int i = 0; i < n; i++)
    if (g_atomic_int_get (&jobs[i]->cancelled))
      return TRUE;
  return FALSE;
}

/* Lock held. Passes `us` of time and then the gate; a cancelled job leaves
 * at once. */
static void
pass (VlmJob **jobs, int n, gint64 us)
{
  gint64 end = g_get_monotonic_time () + us;
  while (!any_cancelled (jobs, n)) {
    gint64 now = g_get_monotonic_time ();
    if (now >= end && !held)
      return;
    if (now >= end && let_through > 0) {
      let_through--;
      return;
    }
    /* A cancel does not signal us: look again every two milliseconds. */
    gint64 slice = now + 2000;
    g_cond_wait_until (&changed, &lock, now < end ? MIN (slice, end) : slice);
  }
}

static gboolean
fail (const FakeError *fault, GError **error)
{
  if (fault->code < 0)
    return FALSE;
  vlm_fail (error, fault->code, &fault->about, "%s",
      fault->message ? fault->message : "The fake engine fails as told.");
  return TRUE;
}

VlmRunner *
vlm_runner_open (const VlmOpenOptions *options, GError **error)
{
  g_mutex_lock (&lock);
  gboolean failed = fail (&settings ()->open_error, error);
  if (!failed) {
    counters.opens++;
    counters.alive++;
    g_cond_broadcast (&changed);
  }
  g_mutex_unlock (&lock);
  if (failed)
    return NULL;

  VlmRunner *runner = g_new0 (VlmRunner, 1);
  const char *device = options->device ? options->device : "auto";
  runner->model = g_path_get_basename (options->path);
  runner->device = g_strdup_printf ("%s (fake)", device);
  runner->weights =
      g_strdup (options->weights == VLM_WEIGHTS_BF16 ? "bf16" : "f32");
  runner->key =
      g_strdup_printf ("%s|%s|%s", options->path, device, runner->weights);
  return runner;
}

void
vlm_runner_free (VlmRunner *runner)
{
  if (!runner)
    return;
  g_free (runner->key);
  g_free (runner->model);
  g_free (runner->device);
  g_free (runner->weights);
  g_free (runner);
  g_mutex_lock (&lock);
  counters.alive--;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

const char *
vlm_runner_key (const VlmRunner *runner)
{
  return runner->key;
}

gboolean
vlm_runner_plan (VlmRunner *runner, GError **error)
{
  return TRUE;
}

void
vlm_runner_info (const VlmRunner *runner, VlmEngineInfo *info)
{
  g_mutex_lock (&lock);
  *info = (VlmEngineInfo){
    .model = runner->model,
    .device = runner->device,
    .weights = runner->weights,
    .weight_bytes = 1 << 20,
    .cache_bytes = 1 << 16,
    .context = 4096,
    .batch = settings ()->batch,
    .gpu = settings ()->gpu,
  };
  g_mutex_unlock (&lock);
}

gboolean
vlm_runner_load (VlmRunner *runner, VlmProgressFunc progress,
    gpointer user_data, GError **error)
{
  gboolean stopped = FALSE, failed = FALSE;
  g_mutex_lock (&lock);
  counters.loads++;
  g_cond_broadcast (&changed);
  for (int percent = 0; percent < 100 && !stopped && !failed; percent++) {
    if (percent >= config.load_error_percent)
      failed = fail (&config.load_error, error);
    if (failed)
      break;
    pass (NULL, 0, config.load_us / 100);
    g_mutex_unlock (&lock);
    stopped = !progress (percent, user_data);
    g_mutex_lock (&lock);
    counters.percents++;
    g_cond_broadcast (&changed);
  }
  counters.loaded += !stopped && !failed;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
  if (stopped)
    g_set_error_literal (
        error, VLM_ERROR, VLM_ERROR_CANCELLED, "Loading was cancelled.");
  return !stopped && !failed;
}

void
vlm_runner_unload (VlmRunner *runner)
{
}

static gboolean
request_fails (GError **error)
{
  return counters.begun >= config.request_error_first &&
         counters.begun <= config.request_error_last &&
         fail (&config.request_error, error);
}

/* "a b c" to "a", " b", " c": joined they are the text. */
static void
split (FakeWork *work, const char *text)
{
  g_autoptr (GPtrArray) words = g_ptr_array_new ();
  while (*text) {
    gsize n = strcspn (text + 1, " ") + 1;
    g_ptr_array_add (words, g_strndup (text, n));
    text += n;
  }
  work->n_words = words->len;
  g_ptr_array_add (words, NULL);
  work->words = (char **) g_ptr_array_steal (words, NULL);
}

static void
fill_result (VlmJob *job, FakeWork *work)
{
  const VlmSettings *s = &job->task.settings;
  const VlmPicture *picture = &job->task.picture;
  VlmResult *r = &job->result;
  int side = 8, total = 5 * side * side;
  double budget = s->token_budget;
  r->text = work->text->str;
  r->prompt = s->prompt ? s->prompt : "Describe the picture.";
  r->policy = s->policy ? s->policy->name : vlm_policies[0]->name;
  r->image_tokens = total;
  r->image_tokens_kept = budget <= 1 ? (int) (budget * total) : (int) budget;
  r->prompt_tokens = r->image_tokens_kept + 10;
  r->token_budget = budget;
  r->geometry = (VlmTileGeometry){ .side = side,
    .tile_px = 64,
    .rows = 2,
    .cols = 2,
    .img_h = picture->height,
    .img_w = picture->width,
    .fit_h = 128,
    .fit_w = 128,
    .unpad = TRUE };
  if (!s->detail)
    return;
  r->rendered_prompt = "USER: <image>\nDescribe the picture. ASSISTANT:";
  r->prompt_ids = work->prompt_ids;
  r->n_prompt_ids = G_N_ELEMENTS (work->prompt_ids);
  r->grid[0] = r->grid[1] = 2;
  r->tile_budgets = work->tile_budgets;
  r->n_tiles = G_N_ELEMENTS (work->tile_budgets);
  r->kept_ids = work->kept_ids;
  r->n_kept = G_N_ELEMENTS (work->kept_ids);
}

static FakeWork *
new_work (VlmJob *job)
{
  g_mutex_lock (&lock);
  FakeConfig c = config;
  g_mutex_unlock (&lock);
  FakeWork *work = g_new0 (FakeWork, 1);
  g_autofree char *text =
      c.describe ? c.describe (&job->task, c.describe_data) : g_strdup (c.text);
  split (work, text);
  work->text = g_string_new (NULL);
  work->ids = g_array_new (FALSE, FALSE, sizeof (int));
  for (int i = 0; i < 4; i++)
    work->kept_ids[i] = work->tile_budgets[i] = i;
  for (int i = 0; i < 3; i++)
    work->prompt_ids[i] = i + 1;
  return work;
}

gboolean
vlm_runner_begin (VlmRunner *runner, VlmJob *job, GError **error)
{
  FakeWork *work = job->work = new_work (job);
  work->begun_us = g_get_monotonic_time ();
  fill_result (job, work);
  job->result.queue_us = work->begun_us - job->submitted_us;

  g_mutex_lock (&lock);
  counters.begun++;
  counters.running++;
  counters.most_running = MAX (counters.most_running, counters.running);
  counters.picture_width = job->task.picture.width;
  counters.picture_height = job->task.picture.height;
  gboolean failed = request_fails (error);
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
  job->read (job);
  if (failed)
    return FALSE;

  g_mutex_lock (&lock);
  pass (&job, 1, config.encode_us);
  g_mutex_unlock (&lock);
  if (g_atomic_int_get (&job->cancelled)) {
    g_set_error_literal (error, VLM_ERROR, VLM_ERROR_CANCELLED,
        "The description was cancelled while its picture was read.");
    return FALSE;
  }
  job->decoding = TRUE;
  job->result.vision_us = g_get_monotonic_time () - work->begun_us;
  return TRUE;
}

static void
say_one (VlmJob *job)
{
  FakeWork *work = job->work;
  VlmResult *r = &job->result;
  if (work->next == work->n_words) {
    job->ended = TRUE;
    r->finish_reason = "eos";
  } else {
    g_string_append (work->text, work->words[work->next++]);
    job->grown = TRUE;
    if (r->tokens + 1 >= job->task.settings.max_tokens) {
      job->ended = TRUE;
      r->finish_reason = "length";
    }
  }
  r->text = work->text->str;
  r->tokens++;
  int id = job->ended ? 2 : 100 + work->next;
  g_array_append_val (work->ids, id);
  if (job->task.settings.detail)
    r->token_ids = (const int *) (void *) work->ids->data;
  r->total_us = g_get_monotonic_time () - work->begun_us;
  if (r->tokens == 1)
    r->ttft_us = r->total_us;
  if (r->total_us > 0)
    r->tokens_per_second = r->tokens * (double) G_USEC_PER_SEC / r->total_us;
}

void
vlm_runner_step (VlmRunner *runner, VlmJob **jobs, int n)
{
  g_mutex_lock (&lock);
  pass (jobs, n, config.token_us);
  g_mutex_unlock (&lock);
  int said = 0;
  for (int i = 0; i < n; i++)
    if (!g_atomic_int_get (&jobs[i]->cancelled)) {
      say_one (jobs[i]);
      said++;
    }
  g_mutex_lock (&lock);
  counters.tokens += said;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

void
vlm_runner_let_go (VlmRunner *runner, VlmJob *job)
{
}

void
vlm_runner_end (VlmRunner *runner, VlmJob *job)
{
  FakeWork *work = job->work;
  if (!work)
    return;
  g_strfreev (work->words);
  g_string_free (work->text, TRUE);
  g_array_unref (work->ids);
  g_free (work);
  job->work = NULL;
  g_mutex_lock (&lock);
  counters.running--;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}
