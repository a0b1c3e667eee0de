/* params.c - a network's weights on a device, from tensors by name
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/params.h"

#include "engine/error.h"
#include "engine/scratch.h"

struct VlmParams {
  Device *dev;
  const VlmWeights *weights;
  DataType type;
  gboolean measuring;
  guint64 bytes;
  GError *error;
  GPtrArray *mats;    /* Mat, the network's */
  GPtrArray *vectors; /* device memory */
};

VlmParams *
vlm_params_new (Device *dev, const VlmWeights *weights, DataType type)
{
  VlmParams *params = g_new0 (VlmParams, 1);

  params->dev = dev;
  params->weights = weights;
  params->type = type;
  params->mats = g_ptr_array_new ();
  params->vectors = g_ptr_array_new ();
  return params;
}

VlmParams *
vlm_params_new_measuring (Device *dev, const VlmWeights *weights, DataType type)
{
  VlmParams *params = vlm_params_new (dev, weights, type);

  params->measuring = TRUE;
  return params;
}

void
vlm_params_free (VlmParams *params)
{
  if (!params)
    return;
  for (guint i = 0; i < params->mats->len; i++)
    params->dev->op->mat_clear (
        params->dev, g_ptr_array_index (params->mats, i));
  for (guint i = 0; i < params->vectors->len; i++)
    device_free (params->dev, g_ptr_array_index (params->vectors, i));
  g_ptr_array_unref (params->mats);
  g_ptr_array_unref (params->vectors);
  g_clear_error (&params->error);
  g_free (params);
}

static char *
name_of (const char *format, va_list args)
{
  return g_strdup_vprintf (format, args);
}

/* Host copy as f32, owned. */
static float *
host_values (const VlmTensor *tensor, int n)
{
  float *values = g_new (float, n);

  vlm_tensor_to_f32 (tensor, values);
  return values;
}

static void
measure_mat (
    VlmParams *params, const char *name, int rows, int cols, gboolean bias)
{
  const VlmTensor *tensor = vlm_weights_find (params->weights, name);
  DataType stored = tensor ? tensor->type : params->type;

  params->bytes += params->dev->op->mat_bytes (
      params->dev, params->type, stored, rows, cols);
  if (bias)
    params->bytes += rows * sizeof (float);
}

static void
load_mat (VlmParams *params, Mat *w, const VlmTensor *tensor, int rows,
    int cols, const VlmTensor *bias)
{
  g_autofree float *values = bias ? host_values (bias, rows) : NULL;

  params->dev->op->mat_init (params->dev, w, params->type, tensor->data,
      tensor->type, rows, cols, values);
  if (w->rows == 0 && vlm_device_check (params->dev, &params->error))
    vlm_fail (&params->error, VLM_ERROR_NO_MEMORY,
        VLM_ABOUT (.file = tensor->file, .tensor = tensor->stored),
        "%s: tensor %s could not be loaded.", tensor->file, tensor->stored);
  g_ptr_array_add (params->mats, w);
}

void
vlm_params_mat (VlmParams *params, Mat *w, int rows, int cols, gboolean bias,
    const char *name_format, ...)
{
  g_autofree char *stem = NULL, *name = NULL, *bias_name = NULL;
  const VlmTensor *tensor, *bias_tensor = NULL;
  va_list args;

  va_start (args, name_format);
  stem = name_of (name_format, args);
  va_end (args);
  name = g_strconcat (stem, ".weight", NULL);
  bias_name = g_strconcat (stem, ".bias", NULL);

  if (params->error)
    return;
  if (params->measuring) {
    measure_mat (params, name, rows, cols, bias);
    return;
  }
  tensor = vlm_weights_require (
      params->weights, &params->error, name, 2, rows, cols);
  if (tensor && bias)
    bias_tensor = vlm_weights_require (
        params->weights, &params->error, bias_name, 1, rows);
  if (!params->error)
    load_mat (params, w, tensor, rows, cols, bias_tensor);
}

void
vlm_params_convolution (
    VlmParams *params, Mat *w, int rows, int side, const char *name_format, ...)
{
  g_autofree char *stem = NULL, *name = NULL;
  const VlmTensor *tensor;
  int cols = 3 * side * side;
  va_list args;

  va_start (args, name_format);
  stem = name_of (name_format, args);
  va_end (args);
  name = g_strconcat (stem, ".weight", NULL);

  if (params->error)
    return;
  if (params->measuring) {
    measure_mat (params, name, rows, cols, FALSE);
    return;
  }
  tensor = vlm_weights_require (
      params->weights, &params->error, name, 4, rows, 3, side, side);
  if (tensor)
    load_mat (params, w, tensor, rows, cols, NULL);
}

void
vlm_params_values (VlmParams *params, float **v, const float *values, int n)
{
  gsize bytes = n * sizeof (float);

  if (params->error)
    return;
  params->bytes += bytes;
  if (params->measuring)
    return;
  *v = device_alloc (params->dev, bytes);
  if (!*v) {
    vlm_device_check (params->dev, &params->error);
    return;
  }
  g_ptr_array_add (params->vectors, *v);
  device_upload (params->dev, *v, values, bytes);
}

static void
load_vector (VlmParams *params, float **v, const VlmTensor *tensor, int n)
{
  g_autofree float *values = NULL;

  if (!tensor)
    return;
  values = host_values (tensor, n);
  vlm_params_values (params, v, values, n);
}

void
vlm_params_vector (
    VlmParams *params, float **v, int n, const char *name_format, ...)
{
  g_autofree char *name = NULL;
  va_list args;

  va_start (args, name_format);
  name = name_of (name_format, args);
  va_end (args);

  if (params->measuring)
    vlm_params_values (params, v, NULL, n);
  else if (!params->error)
    load_vector (params, v,
        vlm_weights_require (params->weights, &params->error, name, 1, n), n);
}

void
vlm_params_table (VlmParams *params, float **v, int rows, int cols,
    const char *name_format, ...)
{
  g_autofree char *name = NULL;
  va_list args;

  va_start (args, name_format);
  name = name_of (name_format, args);
  va_end (args);

  if (params->measuring)
    vlm_params_values (params, v, NULL, rows * cols);
  else if (!params->error)
    load_vector (params, v,
        vlm_weights_require (
            params->weights, &params->error, name, 2, rows, cols),
        rows * cols);
}

gboolean
vlm_params_check (VlmParams *params, GError **error)
{
  if (!params->error)
    return TRUE;
  g_propagate_error (error, g_error_copy (params->error));
  return FALSE;
}

guint64
vlm_params_bytes (const VlmParams *params)
{
  return params->bytes;
}
