/* bench-report.c - the figures as a table and as JSON
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <json-glib/json-glib.h>
#include <stdio.h>

#include "engine/model-shape.h"
#include "pipelines/bench.h"

/* The probe that limits a phase, by its JSON name, and its value; NULL if
 * none does or it was not measured. */
static const char *
bound_of (const BenchBed *bed, const DeviceProbe *probes,
    const BenchResult *result, int phase, double *limit)
{
  gboolean bf16 = bed->type == TYPE_BF16 && bed->dev->has_bf16;
  const char *name = phase == BENCH_DECODE ? "read_gbs"
                     : bf16                ? "bf16_gflops"
                                           : "f32_gflops";

  *limit = phase == BENCH_DECODE ? probes->read_gbs
           : bf16                ? probes->bf16_gflops
                                 : probes->f32_gflops;
  return result->work[phase] > 0 && *limit > 0 ? name : NULL;
}

/* Operations or bytes per second / 1e9. */
static double
rate_of (const BenchResult *result, int phase)
{
  return result->work[phase] / result->ms[phase] / 1e6;
}

static void
print_phase (const BenchBed *bed, const DeviceProbe *probes,
    const BenchResult *result, int phase)
{
  double limit;
  const char *bound = bound_of (bed, probes, result, phase, &limit);
  double rate = rate_of (result, phase);

  printf ("%-11s %10.3f ms  %9.3f .. %9.3f", bench_phase_names[phase],
      result->ms[phase], result->ms_least[phase], result->ms_most[phase]);
  if (result->work[phase] > 0)
    printf ("  %8.1f %s", rate, phase == BENCH_DECODE ? "GB/s" : "GFLOP/s");
  if (bound)
    printf ("  %5.1f %% of %s", 100 * rate / limit, bound);
  putchar ('\n');
}

static void
print_probe (const char *name, double median, double best)
{
  if (median > 0)
    printf ("  %s %.1f (%.1f)", name, median, best);
  else
    printf ("  %s -", name);
}

static void
print_probes (const DeviceProbe *median, const DeviceProbe *best)
{
  printf ("probes, median (best):");
  print_probe ("f32_gflops", median->f32_gflops, best->f32_gflops);
  print_probe ("bf16_gflops", median->bf16_gflops, best->bf16_gflops);
  print_probe ("int8_gops", median->int8_gops, best->int8_gops);
  print_probe ("read_gbs", median->read_gbs, best->read_gbs);
  putchar ('\n');
}

static double
all_fine (const BenchBed *bed)
{
  const VlmConfig *config = &bed->model->config;
  double side = config->vision.side * config->zoom.ratio;

  return side * side;
}

void
bench_print_text (const BenchBed *bed, const BenchOptions *options,
    const BenchProbes *probes, const BenchResult *result)
{
  int vision_layers = vlm_model_vision_layers (bed->model);

  printf ("%s on %s, %d threads, weights %s\n", bed->model->name,
      bed->dev->name, bed->dev->n_threads, data_type_name (bed->type));
  printf ("layers that run: vision %d of %d, text %d of %d%s\n", vision_layers,
      bed->vision_layers, bed->model->config.text.layers, bed->text_layers,
      bed->model->config.text.layers < bed->text_layers
          ? " (figures are of these layers, not scaled to all)"
          : "");
  printf ("%s: %d tiles, %d encoded; policy %s, budget %g: %d of %d image "
          "tokens; prompt %d tokens, %d generated\n",
      options->size, bed->n_tiles, result->live_tiles, options->policy,
      options->token_budget, result->image_tokens_kept, result->image_tokens,
      result->prompt_tokens, options->tokens);
  if (result->fine_layers > 0)
    printf ("a new token attends to %d keys, in %d layers to %.0f more: "
            "attention of %.2f Mflop, %.2f to all fine keys\n",
        result->prompt_tokens, result->fine_layers, result->fine_tokens,
        bench_token_operations (
            bed, result->prompt_tokens, result->fine_tokens) /
            1e6,
        bench_token_operations (bed, result->prompt_tokens, all_fine (bed)) /
            1e6);
  print_probes (&probes->median, &probes->best);
  printf ("median of %d frames, least and most:\n", result->n_frames);
  for (int phase = 0; phase < BENCH_N_PHASES; phase++)
    print_phase (bed, &probes->median, result, phase);
  printf ("%-11s %10.3f ms\n", "first token", result->first_token_ms);
}

static void
add_number (JsonBuilder *b, const char *name, double value)
{
  json_builder_set_member_name (b, name);
  json_builder_add_double_value (b, value);
}

static void
add_count (JsonBuilder *b, const char *name, int value)
{
  json_builder_set_member_name (b, name);
  json_builder_add_int_value (b, value);
}

static void
add_text (JsonBuilder *b, const char *name, const char *value)
{
  json_builder_set_member_name (b, name);
  json_builder_add_string_value (b, value);
}

static void
add_probe (JsonBuilder *b, const char *name, double value)
{
  if (value > 0) {
    add_number (b, name, value);
    return;
  }
  json_builder_set_member_name (b, name);
  json_builder_add_null_value (b);
}

static void
add_probes (JsonBuilder *b, const char *name, const DeviceProbe *probes)
{
  json_builder_set_member_name (b, name);
  json_builder_begin_object (b);
  add_probe (b, "f32_gflops", probes->f32_gflops);
  add_probe (b, "bf16_gflops", probes->bf16_gflops);
  add_probe (b, "int8_gops", probes->int8_gops);
  add_probe (b, "read_gbs", probes->read_gbs);
  json_builder_end_object (b);
}

static void
add_phase (JsonBuilder *b, const BenchBed *bed, const DeviceProbe *probes,
    const BenchResult *result, int phase)
{
  double limit;
  const char *bound = bound_of (bed, probes, result, phase, &limit);

  json_builder_set_member_name (b, bench_phase_names[phase]);
  json_builder_begin_object (b);
  add_number (b, "ms", result->ms[phase]);
  add_number (b, "ms_least", result->ms_least[phase]);
  add_number (b, "ms_most", result->ms_most[phase]);
  if (result->work[phase] > 0)
    add_number (
        b, phase == BENCH_DECODE ? "gbs" : "gflops", rate_of (result, phase));
  if (bound) {
    add_number (b, "share", rate_of (result, phase) / limit);
    add_text (b, "bound", bound);
  }
  if (phase == BENCH_FRAME)
    add_number (b, "first_token_ms", result->first_token_ms);
  json_builder_end_object (b);
}

static void
add_setting (JsonBuilder *b, const BenchBed *bed, const BenchOptions *options)
{
  add_text (b, "model", bed->model->name);
  add_text (b, "device", bed->dev->name);
  add_count (b, "threads", bed->dev->n_threads);
  add_text (b, "weights", data_type_name (bed->type));
  add_count (b, "vision_layers", vlm_model_vision_layers (bed->model));
  add_count (b, "vision_layers_of_model", bed->vision_layers);
  add_count (b, "text_layers", bed->model->config.text.layers);
  add_count (b, "text_layers_of_model", bed->text_layers);
  add_text (b, "size", options->size);
  add_text (b, "pixels", options->nv12 ? "NV12" : "RGB");
  add_text (b, "policy", options->policy);
  add_number (b, "token_budget", options->token_budget);
  add_count (b, "tokens", options->tokens);
  add_count (b, "tiles", bed->n_tiles);
}

void
bench_print_json (const BenchBed *bed, const BenchOptions *options,
    const BenchProbes *probes, const BenchResult *result)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  json_builder_begin_object (b);
  add_setting (b, bed, options);
  add_count (b, "tiles_encoded", result->live_tiles);
  add_count (b, "image_tokens", result->image_tokens);
  add_count (b, "image_tokens_kept", result->image_tokens_kept);
  add_count (b, "prompt_tokens", result->prompt_tokens);
  if (result->fine_layers > 0) {
    add_count (b, "fine_layers", result->fine_layers);
    add_number (b, "fine_tokens", result->fine_tokens);
    add_number (b, "token_attention_flops",
        bench_token_operations (
            bed, result->prompt_tokens, result->fine_tokens));
    add_number (b, "token_attention_flops_all_fine",
        bench_token_operations (bed, result->prompt_tokens, all_fine (bed)));
  }
  add_count (b, "frames", result->n_frames);
  add_probes (b, "probes", &probes->median);
  add_probes (b, "probes_best", &probes->best);
  json_builder_set_member_name (b, "phases");
  json_builder_begin_object (b);
  for (int phase = 0; phase < BENCH_N_PHASES; phase++)
    add_phase (b, bed, &probes->median, result, phase);
  json_builder_end_object (b);
  json_builder_end_object (b);
  root = json_builder_get_root (b);
  text = json_to_string (root, FALSE);
  puts (text);
}
