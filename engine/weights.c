/* weights.c - the tensors of a folder, mapped and found by name
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/weights.h"

#include <glib/gi18n-lib.h>
#include <stdarg.h>
#include <string.h>

#include "engine/error.h"
#include "engine/json.h"

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"
#define MAX_INDEX_BYTES (64 << 20)

struct VlmWeights {
  char *folder;
  const char *prefix; /* while joining: only these are taken; else NULL */
  gboolean original;  /* names are those of LLaVA's own repository */
  GPtrArray *files;   /* GMappedFile */
  GPtrArray *blocks;  /* values of tensors that were added */
  GPtrArray *lists;   /* GPtrArray of VlmTensor, one a file; they own */
  GHashTable *tensor; /* canonical name to VlmTensor, borrowed */
  guint64 bytes;
  VlmTensorFunc watch;
  gpointer watch_data;
};

void
vlm_weights_free (VlmWeights *weights)
{
  if (!weights)
    return;
  g_clear_pointer (&weights->tensor, g_hash_table_unref);
  g_clear_pointer (&weights->lists, g_ptr_array_unref);
  g_clear_pointer (&weights->blocks, g_ptr_array_unref);
  g_clear_pointer (&weights->files, g_ptr_array_unref);
  g_free (weights->folder);
  g_free (weights);
}

static VlmWeights *
weights_new (const char *folder)
{
  VlmWeights *weights = g_new0 (VlmWeights, 1);

  weights->folder = g_strdup (folder);
  weights->files =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_mapped_file_unref);
  weights->blocks = g_ptr_array_new_with_free_func (g_aligned_free);
  weights->lists =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_ptr_array_unref);
  weights->tensor = g_hash_table_new (g_str_hash, g_str_equal);
  return weights;
}

static gboolean
is_file (const char *path)
{
  return g_file_test (path, G_FILE_TEST_IS_REGULAR);
}

/* Enters a parsed file's tensors under their canonical names. */
static gboolean
add_tensors (VlmWeights *weights, GPtrArray *list, GError **error)
{
  for (guint i = 0; i < list->len; i++) {
    VlmTensor *tensor = list->pdata[i], *other;
    g_autofree char *canonical = vlm_weights_canonical_name (tensor->name);

    if (!canonical)
      continue;
    other = g_hash_table_lookup (weights->tensor, canonical);
    if (weights->prefix &&
        (other || !g_str_has_prefix (canonical, weights->prefix)))
      continue;
    weights->original |= vlm_weights_is_original (tensor->name);
    if (other)
      return vlm_fail (error, VLM_ERROR_DATA,
          VLM_ABOUT (.file = tensor->file, .tensor = tensor->name),
          "%s: each tensor was expected once, but %s, as %s, is also in %s.",
          tensor->file, tensor->name, canonical, other->file);
    tensor->stored = tensor->name;
    tensor->name = g_steal_pointer (&canonical);
    g_hash_table_insert (weights->tensor, tensor->name, tensor);
    weights->bytes += tensor->bytes;
  }
  return TRUE;
}

/* Maps and parses one file of the folder; the list belongs to weights. */
static GPtrArray *
map_file (VlmWeights *weights, const char *name, GError **error)
{
  g_autofree char *path = g_build_filename (weights->folder, name, NULL);
  g_autoptr (GError) reason = NULL;
  GMappedFile *file;
  GPtrArray *list;

  if (!is_file (path)) {
    vlm_fail_expected (
        error, VLM_ERROR_NOT_FOUND, path, "a file", N_ ("there is none"));
    return NULL;
  }
  file = g_mapped_file_new (path, FALSE, &reason);
  if (!file) {
    g_autofree char *found =
        g_strdup_printf ("opening it failed (%s)", reason->message);

    vlm_fail (error, VLM_ERROR_OPEN,
        VLM_ABOUT (.file = path, .expected = "a readable file", .found = found),
        "%s: a readable file was expected, but opening it failed (%s).", path,
        reason->message);
    return NULL;
  }
  g_ptr_array_add (weights->files, file);
  list =
      vlm_safetensors_parse ((const guint8 *) g_mapped_file_get_contents (file),
          g_mapped_file_get_length (file), path, error);
  if (list)
    g_ptr_array_add (weights->lists, list);
  return list;
}

static gboolean
add_file (VlmWeights *weights, const char *name, GError **error)
{
  GPtrArray *list = map_file (weights, name, error);

  return list && add_tensors (weights, list, error);
}

static GHashTable *
names_of (GPtrArray *list)
{
  GHashTable *names = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < list->len; i++)
    g_hash_table_add (names, ((VlmTensor *) list->pdata[i])->name);
  return names;
}

static gboolean
is_plain_name (const char *name)
{
  return *name && *name != '.' && !strpbrk (name, "/\\");
}

/* Groups the index's weight_map: file name to list of tensor names. */
static GHashTable *
group_by_file (const VlmJson *index, GError **error)
{
  g_autoptr (GHashTable) groups = g_hash_table_new_full (
      g_str_hash, g_str_equal, NULL, (GDestroyNotify) g_ptr_array_unref);
  JsonObjectIter iter;
  const char *tensor;
  VlmJson map;

  if (!vlm_json_get_object (index, "weight_map", &map, error))
    return NULL;
  if (!map.object || !json_object_get_size (map.object)) {
    vlm_json_fail (index, "weight_map", VLM_ERROR_DATA,
        "an object of tensor and file names", error);
    return NULL;
  }
  json_object_iter_init (&iter, map.object);
  while (json_object_iter_next (&iter, &tensor, NULL)) {
    const char *file = "";
    GPtrArray *names;

    if (!vlm_json_get_string (&map, tensor, &file, error))
      return NULL;
    if (!is_plain_name (file)) {
      vlm_json_fail (&map, tensor, VLM_ERROR_DATA,
          "the name of a file inside the folder", error);
      return NULL;
    }
    names = g_hash_table_lookup (groups, file);
    if (!names) {
      names = g_ptr_array_new ();
      g_hash_table_insert (groups, (gpointer) file, names);
    }
    g_ptr_array_add (names, (gpointer) tensor);
  }
  return g_steal_pointer (&groups);
}

static gboolean
add_shard (
    VlmWeights *weights, const char *file, GPtrArray *names, GError **error)
{
  GPtrArray *list = map_file (weights, file, error);
  g_autoptr (GHashTable) present = NULL;

  if (!list)
    return FALSE;
  present = names_of (list);
  for (guint i = 0; i < names->len; i++) {
    const char *name = names->pdata[i];
    g_autofree char *path = NULL;

    if (g_hash_table_contains (present, name))
      continue;
    path = g_build_filename (weights->folder, file, NULL);
    return vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = path, .tensor = name),
        "%s: tensor %s was expected, as %s says, but it is not there.", path,
        name, INDEX);
  }
  return add_tensors (weights, list, error);
}

static gboolean
add_shards (VlmWeights *weights, const char *path, GError **error)
{
  g_autoptr (GHashTable) groups = NULL;
  g_autoptr (GList) files = NULL;
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;
  gsize length;
  VlmJson index;

  if (!vlm_read_text (path, MAX_INDEX_BYTES, &text, &length, error))
    return FALSE;
  root = vlm_json_parse (text, length, path, TRUE, error);
  if (!root)
    return FALSE;
  index = vlm_json_root (root, path);
  groups = group_by_file (&index, error);
  if (!groups)
    return FALSE;
  files =
      g_list_sort (g_hash_table_get_keys (groups), (GCompareFunc) g_strcmp0);
  for (GList *file = files; file; file = file->next)
    if (!add_shard (weights, file->data,
            g_hash_table_lookup (groups, file->data), error))
      return FALSE;
  return TRUE;
}

static const char *const pickled[] = { "pytorch_model.bin",
  "pytorch_model.bin.index.json" };

static gboolean
add_folder (VlmWeights *weights, GError **error)
{
  g_autofree char *single = g_build_filename (weights->folder, SINGLE, NULL);
  g_autofree char *index = g_build_filename (weights->folder, INDEX, NULL);

  if (is_file (single))
    return add_file (weights, SINGLE, error);
  if (is_file (index))
    return add_shards (weights, index, error);
  for (gsize i = 0; i < G_N_ELEMENTS (pickled); i++) {
    g_autofree char *path =
        g_build_filename (weights->folder, pickled[i], NULL);

    if (!is_file (path))
      continue;
    return vlm_fail (error, VLM_ERROR_WRONG_TYPE,
        VLM_ABOUT (.file = weights->folder, .expected = SINGLE,
            .found = pickled[i]),
        "%s: %s was expected, but the weights are in %s, pickled "
        "Python objects, which are not read; models/bin-to-safetensors.py "
        "converts them.",
        weights->folder, SINGLE, pickled[i]);
  }
  return vlm_fail_expected (error, VLM_ERROR_NOT_FOUND, weights->folder,
      "model.safetensors or model.safetensors.index.json",
      N_ ("neither is there"));
}

VlmWeights *
vlm_weights_open (const char *folder, GError **error)
{
  g_autoptr (VlmWeights) weights = weights_new (folder);

  return add_folder (weights, error) ? g_steal_pointer (&weights) : NULL;
}

gboolean
vlm_weights_join (
    VlmWeights *weights, const char *folder, const char *prefix, GError **error)
{
  char *own = weights->folder;
  gboolean joined;

  weights->folder = (char *) folder;
  weights->prefix = prefix;
  joined = add_folder (weights, error);
  weights->folder = own;
  weights->prefix = NULL;
  return joined;
}

static void
made_tensor_free (VlmTensor *tensor)
{
  g_free (tensor->name);
  g_free (tensor->stored);
  g_free (tensor->file);
  g_free (tensor->dtype);
  g_free (tensor);
}

VlmWeights *
vlm_weights_new_memory (const char *name)
{
  VlmWeights *weights = weights_new (name);

  g_ptr_array_add (weights->lists,
      g_ptr_array_new_with_free_func ((GDestroyNotify) made_tensor_free));
  return weights;
}

gpointer
vlm_weights_add (VlmWeights *weights, const char *canonical, DataType type,
    int n_dims, const gint64 *shape, gpointer values)
{
  VlmTensor *tensor = g_new0 (VlmTensor, 1);

  g_assert (!g_hash_table_contains (weights->tensor, canonical));
  tensor->name = g_strdup (canonical);
  tensor->stored = g_strdup (canonical);
  tensor->file = g_strdup (weights->folder);
  tensor->dtype = g_ascii_strup (data_type_name (type), -1);
  tensor->readable = TRUE;
  tensor->type = type;
  tensor->n_dims = n_dims;
  tensor->bytes = data_type_bytes (type);
  for (int i = 0; i < n_dims; i++) {
    tensor->shape[i] = shape[i];
    tensor->bytes *= shape[i];
  }
  if (!values) {
    values = g_aligned_alloc (tensor->bytes, 1, 64);
    g_ptr_array_add (weights->blocks, values);
  }
  tensor->data = values;
  g_ptr_array_add (weights->lists->pdata[0], tensor);
  g_hash_table_insert (weights->tensor, tensor->name, tensor);
  weights->bytes += tensor->bytes;
  return values;
}

const VlmTensor *
vlm_weights_find (const VlmWeights *weights, const char *name)
{
  const VlmTensor *tensor = g_hash_table_lookup (weights->tensor, name);

  return tensor && tensor->readable ? tensor : NULL;
}

gboolean
vlm_weights_has (const VlmWeights *weights, const char *name)
{
  return g_hash_table_contains (weights->tensor, name);
}

static char *
shape_text (const gint64 *shape, int n_dims)
{
  GString *text = g_string_new ("[");

  for (int i = 0; i < n_dims; i++)
    g_string_append_printf (
        text, "%s%" G_GINT64_FORMAT, i ? "," : "", shape[i]);
  return g_string_free (g_string_append_c (text, ']'), FALSE);
}

static gboolean
check_shape (
    const VlmTensor *tensor, const gint64 *shape, int n_dims, GError **error)
{
  g_autofree char *expected = NULL, *found = NULL;

  if (tensor->n_dims == n_dims &&
      !memcmp (tensor->shape, shape, sizeof *shape * (gsize) n_dims))
    return TRUE;
  expected = shape_text (shape, n_dims);
  found = shape_text (tensor->shape, tensor->n_dims);
  return vlm_fail (error, VLM_ERROR_DATA,
      VLM_ABOUT (.file = tensor->file, .tensor = tensor->stored,
          .expected = expected, .found = found),
      "%s: tensor %s has shape %s, but %s was expected.", tensor->file,
      tensor->stored, found, expected);
}

/* "multi_modal_projector." of "multi_modal_projector.linear_1.bias". */
static gsize
part_length (const char *canonical)
{
  const char *dot = strchr (canonical, '.');

  return dot ? (gsize) (dot - canonical) + 1 : 0;
}

/* How the folder would spell a tensor that is not there: by the same prefix
 * as others of its part. The newline stands beside the projector. */
static char *
missing_name (const VlmWeights *weights, const char *canonical)
{
  gboolean newline = g_str_equal (canonical, "image_newline");
  const char *part = newline ? "multi_modal_projector." : canonical;
  gsize length = part_length (part), skip = newline ? 0 : length;
  GHashTableIter iter;
  VlmTensor *other;

  g_hash_table_iter_init (&iter, weights->tensor);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &other)) {
    const char *rest = other->name + skip;

    if (strncmp (other->name, part, length) ||
        !g_str_has_suffix (other->stored, rest))
      continue;
    return g_strdup_printf ("%.*s%s",
        (int) (strlen (other->stored) - strlen (rest)), other->stored,
        canonical + skip);
  }
  return vlm_weights_published_name (canonical, weights->original);
}

const VlmTensor *
vlm_weights_require (const VlmWeights *weights, GError **error,
    const char *name, int n_dims, ...)
{
  const VlmTensor *tensor = g_hash_table_lookup (weights->tensor, name);
  gint64 shape[VLM_MAX_DIMS];
  va_list sizes;

  g_return_val_if_fail (n_dims <= VLM_MAX_DIMS, NULL);
  va_start (sizes, n_dims);
  for (int i = 0; i < n_dims; i++)
    shape[i] = va_arg (sizes, int);
  va_end (sizes);

  if (!tensor) {
    g_autofree char *expected = shape_text (shape, n_dims);
    g_autofree char *stored = missing_name (weights, name);

    vlm_fail (error, VLM_ERROR_DATA,
        VLM_ABOUT (.file = weights->folder, .tensor = stored,
            .expected = expected),
        "%s: tensor %s of shape %s was expected, but no weight file holds "
        "it.",
        weights->folder, stored, expected);
    return NULL;
  }
  if (!tensor->readable) {
    vlm_fail (error, VLM_ERROR_WRONG_TYPE,
        VLM_ABOUT (.file = tensor->file, .tensor = tensor->stored,
            .expected = "F32, BF16 or F16", .found = tensor->dtype),
        "%s: tensor %s is %s, but F32, BF16 or F16 was expected.", tensor->file,
        tensor->stored, tensor->dtype);
    return NULL;
  }
  if (!check_shape (tensor, shape, n_dims, error))
    return NULL;
  if (weights->watch && !weights->watch (tensor, weights->watch_data)) {
    vlm_fail (error, VLM_ERROR_CANCELLED, NULL,
        "%s: loading was cancelled at tensor %s.", weights->folder, name);
    return NULL;
  }
  return tensor;
}

void
vlm_weights_watch (VlmWeights *weights, VlmTensorFunc func, gpointer user_data)
{
  weights->watch = func;
  weights->watch_data = user_data;
}

guint64
vlm_weights_bytes (const VlmWeights *weights)
{
  return weights->bytes;
}
