/* describe.h - the parts of hiredvlm-describe: options, pipeline, picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
  char *model, *prompt, *token_budget, *max_tokens, *picture;
  char **policies; /* described by each in turn; NULL: the element's */
  char **set;      /* PROPERTY=VALUE, or NULL */
  double interval; /* seconds, negative: the element's */
  gboolean json, detail;
  char **inputs; /* files and URIs */
} DescribeOptions;

/* ---- describe-run.c ---- */

typedef struct Describe Describe;

/* Makes the element and sets its properties; errors are sentences. */
Describe *describe_new (const DescribeOptions *options, GError **error);
void describe_free (Describe *describe);

/* Describes every input, by every policy, and prints the captions as they come.
 * Draws what each policy kept of the last described frame, if a picture was
 * asked for. */
gboolean describe_run (Describe *describe, GError **error);

/* ---- describe-properties.c ---- */

/* Sets a property of any type from text. The error names the property, and
 * the choices if it is an enum. */
gboolean describe_set_property (
    GstElement *element, const char *name, const char *text, GError **error);

/* ---- describe-draw.c ---- */

/* Writes a PNG of n described frames, buffers that carry a caption with its
 * detail fields. Of each the squeezed picture and the grid of tiles, with the
 * patches that are not kept darkened, and the caption. */
gboolean describe_draw (
    GstSample *const *frames, guint n, const char *file, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Describe, describe_free)

G_END_DECLS
