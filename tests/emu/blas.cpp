/* blas.cpp - the matrix products of cuBLASLt
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * D = alpha op(A) op(B) + beta C + bias, the bias along the rows of D; every
 * combination of types this project asks for, all others refused. Terms are
 * added in f32 in ascending order.
 */
#include "tests/emu/emu.h"

#include "cublasLt.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

struct cublasLtContext {
  int device;
};

struct cublasLtMatmulDescOpaque_t {
  int trans_a, trans_b, epilogue;
  const void *bias;
  int bias_type;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  uint64_t rows, cols;
  int64_t ld;
  int order, n_batches;
  int64_t stride;
};

struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace;
  uint32_t alignment[4]; /* of A, B, C, D */
  uint32_t reductions;   /* how parts of a sum may be added up */
};

#define ALIGNMENT 256     /* what cuBLASLt takes for granted if not told */
#define BIAS_ALIGNMENT 16 /* of what vectors are read by */

typedef cublasLtMatrixLayoutOpaque_t Layout;

/* A product with everything by value, as it will be when its turn comes. */
struct Product {
  cublasLtMatmulDescOpaque_t desc;
  float alpha, beta;
  const char *a, *b, *c;
  char *d;
  Layout la, lb, lc, ld;
};

static size_t
bytes_of (int type)
{
  return type == CUDA_R_32F ? 4 : 2;
}

static float
get (const char *x, int type, size_t i)
{
  if (type == CUDA_R_32F)
    return ((const float *) x)[i];
  if (type == CUDA_R_16F)
    return __half2float (((const __half *) x)[i]);
  return __bfloat162float (((const __nv_bfloat16 *) x)[i]);
}

static void
set (char *x, int type, size_t i, float value)
{
  if (type == CUDA_R_32F)
    ((float *) x)[i] = value;
  else if (type == CUDA_R_16F)
    ((__half *) x)[i] = __float2half (value);
  else
    ((__nv_bfloat16 *) x)[i] = __float2bfloat16 (value);
}

static size_t
place (const Layout &l, size_t row, size_t col, size_t batch)
{
  size_t in_batch =
      l.order == CUBLASLT_ORDER_COL ? row + col * l.ld : row * l.ld + col;
  return in_batch + batch * l.stride;
}

/* op(X) as f32, with the dimension that is summed over last. */
static std::vector<float>
rows_of (const char *x, const Layout &l, bool sum_over_rows, size_t batch)
{
  size_t n = sum_over_rows ? l.cols : l.rows,
         k = sum_over_rows ? l.rows : l.cols;
  std::vector<float> out (n * k);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < k; j++)
      out[i * k + j] = get (x, l.type,
          sum_over_rows ? place (l, j, i, batch) : place (l, i, j, batch));
  return out;
}

static float
dot (const float *a, const float *b, size_t k)
{
  float sum = 0;
  for (size_t i = 0; i < k; i++)
    sum += a[i] * b[i];
  return sum;
}

static void
run_batch (const Product &p, size_t batch)
{
  /* A is summed over its rows if transposed, B if it is not. */
  std::vector<float> a = rows_of (p.a, p.la, p.desc.trans_a, batch);
  std::vector<float> b = rows_of (p.b, p.lb, !p.desc.trans_b, batch);
  size_t k = p.desc.trans_a ? p.la.rows : p.la.cols;
  for (size_t col = 0; col < p.ld.cols; col++)
    for (size_t row = 0; row < p.ld.rows; row++) {
      float sum = p.alpha * dot (&a[row * k], &b[col * k], k);
      if (p.beta != 0)
        sum += p.beta * get (p.c, p.lc.type, place (p.lc, row, col, batch));
      if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
        sum += get ((const char *) p.desc.bias, p.desc.bias_type, row);
      set (p.d, p.ld.type, place (p.ld, row, col, batch), sum);
    }
}

static void
check_operand (const void *x, const Layout &l, const char *what)
{
  size_t last = place (l, l.rows - 1, l.cols - 1, l.n_batches - 1);
  emu_check_range (x, (last + 1) * bytes_of (l.type), false, what);
}

static void
run_product (const Product &p)
{
  check_operand (p.a, p.la, "cublasLtMatmul, A");
  check_operand (p.b, p.lb, "cublasLtMatmul, B");
  check_operand (p.d, p.ld, "cublasLtMatmul, D");
  for (int batch = 0; batch < p.ld.n_batches; batch++)
    run_batch (p, batch);
}

/* A leading dimension is no shorter than what it leads over. Of 16 bits, odd
 * ones have no algorithm here: cuBLASLt need not have one for every shape. */
static bool
reaches (const Layout &l)
{
  uint64_t least = l.order == CUBLASLT_ORDER_COL ? l.rows : l.cols;
  return l.ld >= (int64_t) least && (l.type == CUDA_R_32F || l.ld % 2 == 0);
}

/* Both factors of one type; D of that type or f32; C as D; a bias of D's type,
 * or f32 on narrower ones. */
static bool
is_supported (const Product &p)
{
  size_t m = p.desc.trans_a ? p.la.cols : p.la.rows;
  size_t n = p.desc.trans_b ? p.lb.rows : p.lb.cols;
  size_t k = p.desc.trans_a ? p.la.rows : p.la.cols;
  bool types = p.la.type == p.lb.type && p.lc.type == p.ld.type &&
               (p.ld.type == p.la.type || p.ld.type == CUDA_R_32F);
  bool bias = p.desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT ||
              p.desc.bias_type == p.ld.type;
  bool leading = reaches (p.la) && reaches (p.lb) && reaches (p.ld);
  return types && bias && leading && m == p.ld.rows && n == p.ld.cols &&
         k == (p.desc.trans_b ? p.lb.cols : p.lb.rows);
}

/* ---- the API ---- */

cublasStatus_t
cublasLtCreate (cublasLtHandle_t *handle)
{
  *handle = new cublasLtContext{ emu_current_device () };
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtDestroy (cublasLtHandle_t handle)
{
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

const char *
cublasLtGetStatusName (cublasStatus_t status)
{
  return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                                 : "CUBLAS_STATUS";
}

cublasStatus_t
cublasLtMatmulDescCreate (
    cublasLtMatmulDesc_t *desc, cublasComputeType_t, cudaDataType_t)
{
  *desc = new cublasLtMatmulDescOpaque_t{ CUBLAS_OP_N, CUBLAS_OP_N,
    CUBLASLT_EPILOGUE_DEFAULT, NULL, -1 };
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulDescDestroy (cublasLtMatmulDesc_t desc)
{
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulDescSetAttribute (cublasLtMatmulDesc_t desc,
    cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
  void *to = NULL;
  switch (attribute) {
  case CUBLASLT_MATMUL_DESC_TRANSA:
    to = &desc->trans_a;
    break;
  case CUBLASLT_MATMUL_DESC_TRANSB:
    to = &desc->trans_b;
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    to = &desc->epilogue;
    break;
  case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
    to = &desc->bias_type;
    break;
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    to = &desc->bias;
    break;
  }
  memcpy (to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutCreate (cublasLtMatrixLayout_t *layout, cudaDataType_t type,
    uint64_t rows, uint64_t cols, int64_t ld)
{
  *layout = new Layout{ type, rows, cols, ld, CUBLASLT_ORDER_COL, 1, 0 };
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutDestroy (cublasLtMatrixLayout_t layout)
{
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute (cublasLtMatrixLayout_t layout,
    cublasLtMatrixLayoutAttribute_t attribute, const void *value, size_t bytes)
{
  void *to = attribute == CUBLASLT_MATRIX_LAYOUT_ORDER ? (void *) &layout->order
             : attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT
                 ? (void *) &layout->n_batches
                 : &layout->stride;
  memcpy (to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceCreate (cublasLtMatmulPreference_t *preference)
{
  *preference = new cublasLtMatmulPreferenceOpaque_t{ 0,
    { ALIGNMENT, ALIGNMENT, ALIGNMENT, ALIGNMENT },
    CUBLASLT_REDUCTION_SCHEME_MASK };
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceDestroy (cublasLtMatmulPreference_t preference)
{
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute (cublasLtMatmulPreference_t preference,
    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
    size_t bytes)
{
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    memcpy (&preference->workspace, value, bytes);
  else if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    memcpy (&preference->reductions, value, bytes);
  else
    memcpy (&preference->alignment[attribute -
                                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
        value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic (cublasLtHandle_t, cublasLtMatmulDesc_t desc,
    cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
    cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
    cublasLtMatmulPreference_t preference, int most,
    cublasLtMatmulHeuristicResult_t *results, int *n_results)
{
  Product p = { *desc, 1, 0, NULL, NULL, NULL, NULL, *a, *b, *c, *d };
  if (preference->reductions & (CUBLASLT_REDUCTION_SCHEME_INPLACE |
                                   CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE))
    emu_die ("cublasLtMatmulAlgoGetHeuristic: parts of a sum may be rounded");
  bool has_bias = p.desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT || p.desc.bias;
  bool some = most > 0 && has_bias && is_supported (p);
  *n_results = some;
  if (some)
    results[0] = { { { 1, preference->alignment[0], preference->alignment[1],
                       preference->alignment[2], preference->alignment[3] } },
      preference->workspace, CUBLAS_STATUS_SUCCESS, 1, {} };
  return some ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t
cublasLtMatmul (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
    const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
    const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
    const void *c, cublasLtMatrixLayout_t c_layout, void *d,
    cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
    void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
  EmuLock lock;
  Product p = { *desc, *(const float *) alpha, *(const float *) beta,
    (const char *) a, (const char *) b, (const char *) c, (char *) d, *a_layout,
    *b_layout, *c_layout, *d_layout };
  if (!algo || algo->data[0] != 1 || !is_supported (p))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS && !p.desc.bias)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS &&
      (uintptr_t) p.desc.bias % BIAS_ALIGNMENT)
    emu_die ("cublasLtMatmul: the bias at %p is not aligned", p.desc.bias);
  if ((uintptr_t) workspace % ALIGNMENT)
    emu_die ("cublasLtMatmul: the workspace at %p is not aligned", workspace);
  if (handle->device != stream->device)
    emu_die ("cublasLtMatmul: the stream is another device's");
  const void *operands[] = { a, b, c, d };
  for (int i = 0; i < 4; i++)
    if ((uintptr_t) operands[i] % algo->data[1 + i])
      emu_die (
          "cublasLtMatmul: operand %d at %p is not aligned to the %d bytes "
          "its algorithm was chosen for",
          i, operands[i], (int) algo->data[1 + i]);
  emu_check_range (workspace, workspace_bytes, false, "cublasLtMatmul");
  emu_enqueue (
      stream, { "cublasLtMatmul", [p] { run_product (p); }, {}, true, {} });
  return CUBLAS_STATUS_SUCCESS;
}
