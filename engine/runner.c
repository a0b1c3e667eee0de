/* runner.c - the work of an engine, on the networks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/runner.h"
#include "engine/error.h"
#include "engine/numbers.h"
#include "engine/request.h"
#include "engine/scratch.h"

struct VlmRunner {
  char *key;
  VlmModel *model;
  Device *dev;
  VlmNetworks networks;
};

/* Progress of a load, counted in bytes of tensors asked for. */
typedef struct {
  VlmProgressFunc func;
  gpointer user_data;
  guint64 done, total;
} Progress;

static Device *
open_device (
    const VlmOpenOptions *options, const VlmModel *model, GError **error)
{
  DeviceStatus status = { 0 };
  const char *name = options->device ? options->device : "auto";
  Device *dev = vlm_numbers_open_device (
      name, options->weights, model, options->threads, &status);
  if (!dev)
    vlm_fail (error,
        status.code == DEVICE_NO_MEMORY ? VLM_ERROR_NO_MEMORY
                                        : VLM_ERROR_DEVICE,
        VLM_ABOUT (.setting = "device", .found = name),
        "Device %s cannot be used: %s", name, status.message);
  return dev;
}

VlmRunner *
vlm_runner_open (const VlmOpenOptions *options, GError **error)
{
  g_autoptr (VlmRunner) runner = g_new0 (VlmRunner, 1);
  runner->model =
      vlm_model_open_with_tower (options->path, options->tower, error);
  if (!runner->model)
    return NULL;
  runner->dev = open_device (options, runner->model, error);
  if (!runner->dev)
    return NULL;
  VlmNetworks *net = &runner->networks;
  net->dev = runner->dev;
  net->model = runner->model;
  net->plan.type =
      vlm_numbers_choose (options->weights, runner->dev, runner->model);
  runner->key = g_strdup_printf ("%s|%s|%s|%s|%d", runner->model->folder,
      options->tower ? options->tower : "", runner->dev->name,
      data_type_name (net->plan.type), runner->dev->n_threads);
  return g_steal_pointer (&runner);
}

void
vlm_runner_free (VlmRunner *runner)
{
  if (!runner)
    return;
  device_close (runner->dev);
  vlm_model_free (runner->model);
  g_free (runner->key);
  g_free (runner);
}

const char *
vlm_runner_key (const VlmRunner *runner)
{
  return runner->key;
}

gboolean
vlm_runner_plan (VlmRunner *runner, GError **error)
{
  VlmPlan *plan = &runner->networks.plan;
  return vlm_plan_make (plan, runner->dev, runner->model, plan->type, error);
}

void
vlm_runner_info (const VlmRunner *runner, VlmEngineInfo *info)
{
  const VlmPlan *plan = &runner->networks.plan;
  *info = (VlmEngineInfo){
    .model = runner->model->name,
    .device = runner->dev->name,
    .weights = data_type_name (plan->type),
    .weight_bytes = plan->weight_bytes,
    .cache_bytes = plan->cache_bytes,
    .context = plan->context,
    .batch = plan->batch,
    .gpu = runner->dev->gpu,
  };
}

Device *
vlm_runner_device (VlmRunner *runner)
{
  return runner->dev;
}

VlmDecoder *
vlm_runner_decoder (VlmRunner *runner)
{
  return runner->networks.decoder;
}

const VlmTextConfig *
vlm_runner_text (const VlmRunner *runner)
{
  return &runner->model->config.text;
}

/* ---- loading ---- */

/* What did not fit once may fit the next time. */
static void
forget_no_memory (Device *dev)
{
  if (dev->status.code == DEVICE_NO_MEMORY)
    dev->status = (DeviceStatus){ 0 };
}

static gboolean
on_tensor (const VlmTensor *tensor, gpointer user_data)
{
  Progress *progress = user_data;
  int percent = progress->total ? progress->done * 100 / progress->total : 0;
  progress->done += tensor->bytes;
  return progress->func (percent, progress->user_data);
}

static gboolean
load_tokenizer (VlmNetworks *net, GError **error)
{
  net->tokenizer = vlm_prompt_tokenizer (net->model, error);
  return net->tokenizer && vlm_prompt_image_id (&net->image_id, net->model,
                               net->tokenizer, error);
}

static gboolean
load_networks (VlmNetworks *net, GError **error)
{
  const VlmPlan *plan = &net->plan;
  net->vision =
      vlm_vision_new (net->dev, net->model, plan->type, plan->max_tiles, error);
  if (!net->vision)
    return FALSE;
  net->projector = vlm_projector_new (
      net->dev, net->model, plan->type, plan->max_tokens, error);
  if (!net->projector)
    return FALSE;
  net->decoder = vlm_decoder_new (net->dev, net->model, plan->type,
      vlm_plan_step_tokens (plan), vlm_plan_step_logits (plan), error);
  return net->decoder != NULL;
}

static gboolean
take_memory (VlmNetworks *net, GError **error)
{
  const VlmPlan *plan = &net->plan;
  const VlmConfig *config = &net->model->config;
  int n_fine = config->zoom.ratio ? vlm_fine_pages (config) * plan->batch : 0;
  net->pool = vlm_kv_pool_new_with_fine (net->dev, &config->text, plan->n_pages,
      config->zoom.layer, n_fine, error);
  if (!net->pool)
    return FALSE;
  if (n_fine)
    net->fine = vlm_fine_store_new (
        net->dev, config, plan->batch, plan->n_pages, error);
  if (n_fine && !net->fine)
    return FALSE;
  net->recalls = g_new0 (VlmRecall, plan->batch);
  net->samplers =
      g_ptr_array_new_with_free_func ((GDestroyNotify) vlm_sampler_free);
  net->rows = device_alloc (
      net->dev, (gsize) plan->context * config->text.width * sizeof (Residual));
  vlm_places_init (
      &net->places, net->dev, config, plan->context, plan->max_tiles);
  return vlm_device_check (net->dev, error);
}

gboolean
vlm_runner_load (
    VlmRunner *runner, VlmProgressFunc func, gpointer user_data, GError **error)
{
  VlmWeights *weights = runner->model->weights;
  VlmNetworks *net = &runner->networks;
  Progress progress = { func, user_data, 0, vlm_weights_bytes (weights) };
  vlm_weights_watch (weights, on_tensor, &progress);
  gboolean loaded = load_tokenizer (net, error) && load_networks (net, error) &&
                    take_memory (net, error);
  vlm_weights_watch (weights, NULL, NULL);
  if (!loaded) {
    vlm_runner_unload (runner);
    forget_no_memory (runner->dev);
  }
  return loaded;
}

void
vlm_runner_unload (VlmRunner *runner)
{
  VlmNetworks *net = &runner->networks;
  for (guint i = 0; i < G_N_ELEMENTS (net->tiler); i++)
    g_clear_pointer (&net->tiler[i], vlm_tiler_free);
  for (int i = 0; net->recalls && i < net->plan.batch; i++)
    vlm_recall_clear (&net->recalls[i]);
  g_clear_pointer (&net->recalls, g_free);
  g_clear_pointer (&net->samplers, g_ptr_array_unref);
  device_free (net->dev, g_steal_pointer (&net->rows));
  vlm_places_clear (&net->places);
  g_clear_pointer (&net->fine, vlm_fine_store_free);
  g_clear_pointer (&net->pool, vlm_kv_pool_free);
  g_clear_pointer (&net->decoder, vlm_decoder_free);
  g_clear_pointer (&net->projector, vlm_projector_free);
  g_clear_pointer (&net->vision, vlm_vision_free);
  g_clear_pointer (&net->tokenizer, vlm_tokenizer_free);
}

/* ---- requests ---- */

gboolean
vlm_runner_begin (VlmRunner *runner, VlmJob *job, GError **error)
{
  gboolean begun = vlm_request_begin (&runner->networks, job, error);
  if (!begun)
    forget_no_memory (runner->dev);
  return begun;
}

/* One step of the decoder for jobs that are all in their prompt or all past
 * it. */
static void
step_alike (VlmRunner *runner, VlmJob **jobs, VlmStepInput *inputs, int n)
{
  g_autoptr (GError) error = NULL;
  float *logits = NULL;
  int vocab = runner->model->config.text.vocab;
  if (!n)
    return;
  gboolean done =
      vlm_decoder_step (runner->networks.decoder, inputs, n, &logits, &error);
  /* Whoever was cancelled ends now, the others run their step again. */
  if (g_error_matches (error, VLM_ERROR, VLM_ERROR_CANCELLED))
    return;
  for (int i = 0; i < n; i++) {
    if (!done)
      vlm_request_fail (jobs[i], error);
    else
      vlm_request_output (jobs[i], inputs[i].n_logits ? logits : NULL);
    if (logits)
      logits += (gsize) inputs[i].n_logits * vocab;
  }
}

/* Newest tokens go together with their drafts; pieces of prompts, and tokens
 * that are read again, each go alone: a product of many rows may be computed
 * another way than one of few, and a text must not depend on what was read
 * beside it. */
void
vlm_runner_step (VlmRunner *runner, VlmJob **jobs, int n)
{
  g_autofree VlmStepInput *inputs = g_new (VlmStepInput, n);
  g_autofree VlmJob **taking = g_new (VlmJob *, n);
  int n_ones = 0, n_longer = 0, spare = VLM_DRAFT_TOKENS;
  for (int i = 0; i < n; i++) {
    VlmStepInput input;
    if (!vlm_request_input (jobs[i], &input, &spare))
      continue;
    gboolean alone = !jobs[i]->decoding || !input.n_logits;
    int at = alone ? n - ++n_longer : n_ones++;
    inputs[at] = input;
    taking[at] = jobs[i];
  }
  step_alike (runner, taking, inputs, n_ones);
  for (int i = n - n_longer; i < n; i++)
    step_alike (runner, &taking[i], &inputs[i], 1);
}

void
vlm_runner_let_go (VlmRunner *runner, VlmJob *job)
{
  vlm_request_let_go (job, TRUE);
}

void
vlm_runner_end (VlmRunner *runner, VlmJob *job)
{
  vlm_request_end (job);
}
