/* weights-safetensors.c - the safetensors container, from bytes to tensors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Eight bytes of little-endian header length, a JSON object (spaces may
 * follow it), then the data. Touches no file and believes nothing: every
 * number is checked before it is used.
 */
#include "engine/weights.h"

#include <inttypes.h>
#include <string.h>

#include "engine/error.h"
#include "engine/json.h"

#define MAX_HEADER (100 * 1000 * 1000) /* the format's own limit */

typedef struct {
  const char *dtype;
  int bytes; /* of one element */
  int type;  /* a DataType, or -1 */
} Element;

static const Element elements[] = {
  { "F32", 4, TYPE_F32 },
  { "BF16", 2, TYPE_BF16 },
  { "F16", 2, TYPE_F16 },
  { "F64", 8, -1 },
  { "I64", 8, -1 },
  { "U64", 8, -1 },
  { "I32", 4, -1 },
  { "U32", 4, -1 },
  { "I16", 2, -1 },
  { "U16", 2, -1 },
  { "I8", 1, -1 },
  { "U8", 1, -1 },
  { "BOOL", 1, -1 },
  { "F8_E4M3", 1, -1 },
  { "F8_E5M2", 1, -1 },
};

static const Element *
find_element (const char *dtype)
{
  for (gsize i = 0; i < G_N_ELEMENTS (elements); i++)
    if (g_str_equal (dtype, elements[i].dtype))
      return &elements[i];
  return NULL;
}

static void
tensor_free (VlmTensor *tensor)
{
  g_free (tensor->name);
  g_free (tensor->stored);
  g_free (tensor->file);
  g_free (tensor->dtype);
  g_free (tensor);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmTensor, tensor_free)

static gboolean
parse_shape (VlmTensor *tensor, const VlmJson *entry, GError **error)
{
  JsonNode *node = vlm_json_member (entry, "shape");
  JsonArray *array;

  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return vlm_json_fail (entry, "shape", VLM_ERROR_DATA, "a list", error);
  array = json_node_get_array (node);
  if (json_array_get_length (array) > VLM_MAX_DIMS)
    return vlm_json_fail (
        entry, "shape", VLM_ERROR_DATA, "a list of at most 8 sizes", error);
  tensor->n_dims = (int) json_array_get_length (array);
  for (int i = 0; i < tensor->n_dims; i++) {
    JsonNode *size = json_array_get_element (array, i);

    if (!vlm_json_node_int64 (size, &tensor->shape[i]) || tensor->shape[i] < 0)
      return vlm_json_fail (entry, "shape", VLM_ERROR_DATA,
          "a list of whole numbers that are not negative", error);
  }
  return TRUE;
}

static gboolean
parse_range (const VlmJson *entry, gint64 range[2], GError **error)
{
  JsonNode *node = vlm_json_member (entry, "data_offsets");
  JsonArray *array =
      node && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (!array || json_array_get_length (array) != 2 ||
      !vlm_json_node_int64 (json_array_get_element (array, 0), &range[0]) ||
      !vlm_json_node_int64 (json_array_get_element (array, 1), &range[1]) ||
      range[0] < 0 || range[1] < range[0])
    return vlm_json_fail (
        entry, "data_offsets", VLM_ERROR_DATA, "[begin, end]", error);
  return TRUE;
}

/* The bytes that shape and element need, or G_MAXUINT64 when too many. */
static guint64
needed_bytes (const VlmTensor *tensor, const Element *element)
{
  guint64 product = (guint64) element->bytes;

  for (int i = 0; i < tensor->n_dims; i++)
    if (tensor->shape[i] == 0)
      return 0;
  for (int i = 0; i < tensor->n_dims; i++)
    if (!g_uint64_checked_mul (&product, product, (guint64) tensor->shape[i]))
      return G_MAXUINT64;
  return product;
}

/* Fills dtype, type and bytes; the shape is known already. */
static gboolean
check_size (
    VlmTensor *tensor, const VlmJson *entry, guint64 bytes, GError **error)
{
  const Element *element = find_element (tensor->dtype);
  g_autofree char *kept = NULL;

  if (!element) {
    kept = vlm_weights_canonical_name (tensor->name);
    return !kept || vlm_json_fail (entry, "dtype", VLM_ERROR_WRONG_TYPE,
                        "F32, BF16 or F16", error);
  }
  tensor->readable = element->type >= 0;
  tensor->type = tensor->readable ? (DataType) element->type : TYPE_F32;
  if (needed_bytes (tensor, element) == bytes)
    return TRUE;
  return vlm_json_fail_format (entry, "data_offsets", VLM_ERROR_DATA, error,
      "a range of %" PRIu64 " bytes, as shape and dtype say,",
      needed_bytes (tensor, element));
}

static void
fail_truncated (
    const VlmJson *entry, guint64 end, guint64 data_bytes, GError **error)
{
  g_autofree char *expected =
      g_strdup_printf ("%" PRIu64 " bytes of data", end);
  g_autofree char *found =
      g_strdup_printf ("%" PRIu64 " bytes of data", data_bytes);

  vlm_fail (error, VLM_ERROR_DATA,
      VLM_ABOUT (.file = entry->file, .tensor = entry->tensor,
          .expected = expected, .found = found),
      "%s: tensor %s ends at byte %" PRIu64
      " of the data, but the file holds %" PRIu64
      " bytes of data (a truncated file?).",
      entry->file, entry->tensor, end, data_bytes);
}

static VlmTensor *
parse_tensor (const VlmJson *entry, const guint8 *data, guint64 data_bytes,
    GError **error)
{
  g_autoptr (VlmTensor) tensor = g_new0 (VlmTensor, 1);
  const char *dtype = NULL;
  gint64 range[2];

  tensor->name = g_strdup (entry->tensor);
  tensor->file = g_strdup (entry->file);
  if (!vlm_json_get_string (entry, "dtype", &dtype, error))
    return NULL;
  if (!dtype) {
    vlm_json_fail (entry, "dtype", VLM_ERROR_DATA, "a string", error);
    return NULL;
  }
  tensor->dtype = g_strdup (dtype);
  if (!parse_shape (tensor, entry, error) || !parse_range (entry, range, error))
    return NULL;
  if ((guint64) range[1] > data_bytes) {
    fail_truncated (entry, (guint64) range[1], data_bytes, error);
    return NULL;
  }
  if (!check_size (tensor, entry, (guint64) (range[1] - range[0]), error))
    return NULL;
  tensor->data = data + range[0];
  tensor->bytes = (gsize) (range[1] - range[0]);
  return g_steal_pointer (&tensor);
}

static int
compare_places (gconstpointer a, gconstpointer b)
{
  const VlmTensor *x = *(VlmTensor *const *) a, *y = *(VlmTensor *const *) b;

  if (x->data != y->data)
    return x->data < y->data ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static gboolean
fail_gap (const char *file, const guint8 *data, const guint8 *from,
    const guint8 *to, GError **error)
{
  return vlm_fail (error, VLM_ERROR_DATA, VLM_ABOUT (.file = file),
      "%s: tensors were expected to fill the data, but bytes %zu to %zu belong "
      "to none.",
      file, (gsize) (from - data), (gsize) (to - data));
}

/* The format allows neither overlaps nor gaps. */
static gboolean
check_places (GPtrArray *tensors, const guint8 *data, gsize data_bytes,
    const char *file, GError **error)
{
  const guint8 *end = data;

  g_ptr_array_sort (tensors, compare_places);
  for (guint i = 0; i < tensors->len; i++) {
    const VlmTensor *tensor = tensors->pdata[i];

    if (tensor->data < end) {
      const VlmTensor *before = tensors->pdata[i - 1];

      return vlm_fail (error, VLM_ERROR_DATA,
          VLM_ABOUT (.file = file, .tensor = tensor->name),
          "%s: tensors were expected to lie apart, but %s and %s overlap.",
          file, before->name, tensor->name);
    }
    if (tensor->data > end)
      return fail_gap (file, data, end, tensor->data, error);
    end = tensor->data + tensor->bytes;
  }
  return end == data + data_bytes ||
         fail_gap (file, data, end, data + data_bytes, error);
}

/* How long the header says it is; FALSE with an error if it cannot be. */
static gboolean
header_length (const guint8 *bytes, gsize length, const char *file,
    gsize *header_bytes, GError **error)
{
  g_autofree char *expected = NULL, *found = NULL;
  guint64 announced = 0;
  gsize most;

  if (length < 8) {
    found = g_strdup_printf ("it has %zu", length);
    return vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = file,
            .expected = "a safetensors file of at least 8 bytes",
            .found = found),
        "%s: a safetensors file of at least 8 bytes was expected, but it has "
        "%zu.",
        file, length);
  }
  memcpy (&announced, bytes, 8);
  announced = GUINT64_FROM_LE (announced);
  most = MIN (length - 8, MAX_HEADER);
  if (announced <= most) {
    *header_bytes = (gsize) announced;
    return TRUE;
  }
  expected = g_strdup_printf ("a header of at most %zu bytes", most);
  found = g_strdup_printf ("the file announces %" PRIu64
                           " (truncated, or not safetensors?)",
      announced);
  return vlm_fail (error, VLM_ERROR_DATA,
      VLM_ABOUT (.file = file, .expected = expected, .found = found),
      "%s: a header of at most %zu bytes was expected, but the file announces "
      "%" PRIu64 " (truncated, or not safetensors?).",
      file, most, announced);
}

/* The header's root, owned, and its length; NULL with an error. */
static JsonNode *
parse_header (const guint8 *bytes, gsize length, const char *file,
    gsize *header_bytes, GError **error)
{
  if (!header_length (bytes, length, file, header_bytes, error))
    return NULL;
  return vlm_json_parse (
      (const char *) bytes + 8, *header_bytes, file, TRUE, error);
}

GPtrArray *
vlm_safetensors_parse (
    const guint8 *bytes, gsize length, const char *file, GError **error)
{
  g_autoptr (GPtrArray) tensors =
      g_ptr_array_new_with_free_func ((GDestroyNotify) tensor_free);
  g_autoptr (JsonNode) root = NULL;
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;
  gsize header = 0;
  VlmJson json;

  root = parse_header (bytes, length, file, &header, error);
  if (!root)
    return NULL;
  json = vlm_json_root (root, file);
  json_object_iter_init (&iter, json.object);
  while (json_object_iter_next (&iter, &name, &node)) {
    VlmTensor *tensor;
    VlmJson entry;

    if (g_str_equal (name, "__metadata__"))
      continue;
    if (!vlm_json_get_object (&json, name, &entry, error))
      return NULL;
    entry.tensor = name;
    tensor =
        parse_tensor (&entry, bytes + 8 + header, length - 8 - header, error);
    if (!tensor)
      return NULL;
    g_ptr_array_add (tensors, tensor);
  }
  if (!check_places (
          tensors, bytes + 8 + header, length - 8 - header, file, error))
    return NULL;
  return g_steal_pointer (&tensors);
}
