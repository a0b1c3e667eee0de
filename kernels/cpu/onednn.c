/* onednn.c - matrix products by oneDNN, its versions 2 and 3
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Primitives are made anew for each call: oneDNN keeps the compiled code of
 * the last thousand in a cache of its own.
 */
#include "kernels/cpu/onednn.h"

#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct Onednn {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
};

Onednn *
onednn_new (void)
{
  Onednn *onednn = calloc (1, sizeof *onednn);
  if (onednn &&
      dnnl_engine_create (&onednn->engine, dnnl_cpu, 0) == dnnl_success &&
      dnnl_stream_create (&onednn->stream, onednn->engine,
          dnnl_stream_default_flags) == dnnl_success)
    return onednn;
  onednn_free (onednn);
  return NULL;
}

void
onednn_free (Onednn *onednn)
{
  if (!onednn)
    return;
  if (onednn->stream)
    dnnl_stream_destroy (onednn->stream);
  if (onednn->engine)
    dnnl_engine_destroy (onednn->engine);
  free (onednn);
}

bool
onednn_has_amx (void)
{
  unsigned amx = dnnl_cpu_isa_avx512_core_amx;
  return (dnnl_get_effective_cpu_isa () & amx) == amx;
}

/* ---- what differs between the versions ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t Shape;

static bool
shape_init (
    Shape *shape, int a, int b, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
  return dnnl_memory_desc_create_with_tag (
             shape, 2, (dnnl_dims_t){ a, b }, type, tag) == dnnl_success;
}

static void
shape_clear (Shape *shape)
{
  if (*shape)
    dnnl_memory_desc_destroy (*shape);
}

static bool
plan (dnnl_primitive_desc_t *pd, Onednn *onednn, const Shape *x, const Shape *w,
    const Shape *y)
{
  return dnnl_matmul_primitive_desc_create (
             pd, onednn->engine, *x, *w, NULL, *y, NULL) == dnnl_success;
}

static bool
bind (dnnl_memory_t *memory, Onednn *onednn, const Shape *shape, void *data)
{
  return dnnl_memory_create (memory, *shape, onednn->engine, data) ==
         dnnl_success;
}

#else

typedef dnnl_memory_desc_t Shape;

static bool
shape_init (
    Shape *shape, int a, int b, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
  return dnnl_memory_desc_init_by_tag (
             shape, 2, (dnnl_dims_t){ a, b }, type, tag) == dnnl_success;
}

static void
shape_clear (Shape *shape)
{
}

static bool
plan (dnnl_primitive_desc_t *pd, Onednn *onednn, const Shape *x, const Shape *w,
    const Shape *y)
{
  dnnl_matmul_desc_t desc;
  return dnnl_matmul_desc_init (&desc, x, w, NULL, y) == dnnl_success &&
         dnnl_primitive_desc_create (pd, &desc, NULL, onednn->engine, NULL) ==
             dnnl_success;
}

static bool
bind (dnnl_memory_t *memory, Onednn *onednn, const Shape *shape, void *data)
{
  return dnnl_memory_create (memory, shape, onednn->engine, data) ==
         dnnl_success;
}

#endif

/* ---- one product ---- */

typedef struct Call {
  Shape x, w, y;
  dnnl_primitive_desc_t pd;
  dnnl_primitive_t primitive;
  dnnl_memory_t memory[3];
} Call;

static bool
call_init (Call *call, Onednn *onednn, DataType type, int n, int rows, int cols)
{
  bool bf16 = type == TYPE_BF16;
  dnnl_data_type_t dt = bf16 ? dnnl_bf16 : dnnl_f32;
  const char *name = "ref";
  return shape_init (&call->x, n, cols, dt, dnnl_ab) &&
         shape_init (
             &call->w, cols, rows, dt, bf16 ? dnnl_BA16a64b2a : dnnl_ba) &&
         shape_init (&call->y, n, rows, dnnl_f32, dnnl_ab) &&
         plan (&call->pd, onednn, &call->x, &call->w, &call->y) &&
         dnnl_primitive_desc_query (
             call->pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success &&
         strncmp (name, "ref", 3) != 0 &&
         dnnl_primitive_create (&call->primitive, call->pd) == dnnl_success;
}

static bool
call_run (Call *call, Onednn *onednn, float *y, const void *x, const void *w)
{
  if (!bind (&call->memory[0], onednn, &call->x, (void *) x) ||
      !bind (&call->memory[1], onednn, &call->w, (void *) w) ||
      !bind (&call->memory[2], onednn, &call->y, y))
    return false;
  dnnl_exec_arg_t args[3] = { { DNNL_ARG_SRC, call->memory[0] },
    { DNNL_ARG_WEIGHTS, call->memory[1] }, { DNNL_ARG_DST, call->memory[2] } };
  return dnnl_primitive_execute (call->primitive, onednn->stream, 3, args) ==
             dnnl_success &&
         dnnl_stream_wait (onednn->stream) == dnnl_success;
}

static void
call_clear (Call *call)
{
  for (int i = 0; i < 3; i++)
    if (call->memory[i])
      dnnl_memory_destroy (call->memory[i]);
  if (call->primitive)
    dnnl_primitive_destroy (call->primitive);
  if (call->pd)
    dnnl_primitive_desc_destroy (call->pd);
  shape_clear (&call->x);
  shape_clear (&call->w);
  shape_clear (&call->y);
}

bool
onednn_matmul (Onednn *onednn, DataType type, float *y, const void *x,
    const void *w, int n, int rows, int cols, int n_threads)
{
  if (!onednn || type == TYPE_F16)
    return false;
  Call call;
  memset (&call, 0, sizeof call);
  int before = omp_get_max_threads ();
  omp_set_num_threads (n_threads);
  bool done = call_init (&call, onednn, type, n, rows, cols) &&
              call_run (&call, onednn, y, x, w);
  omp_set_num_threads (before);
  call_clear (&call);
  return done;
}

bool
onednn_matmul_int8 (int32_t *y, const uint8_t *x, const int8_t *w, int n,
    int rows, int cols, int n_threads)
{
  int before = omp_get_max_threads ();
  int32_t zero = 0;
  omp_set_num_threads (n_threads);
  bool done = dnnl_gemm_u8s8s32 ('N', 'T', 'F', n, rows, cols, 1, x, cols, 0, w,
                  cols, 0, 0, y, rows, &zero) == dnnl_success;
  omp_set_num_threads (before);
  return done;
}
