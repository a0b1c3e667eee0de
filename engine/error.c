/* error.c - the engine's error domain
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/error.h"

#include <glib/gi18n-lib.h>

/* What GLib keeps with each error of the domain; the strings are owned. */
typedef struct {
  VlmErrorDetails about;
} VlmErrorPrivate;

static void
vlm_error_domain_private_init (VlmErrorPrivate *own)
{
}

static void
vlm_error_domain_private_copy (const VlmErrorPrivate *from, VlmErrorPrivate *to)
{
  to->about = (VlmErrorDetails){
    .file = g_strdup (from->about.file),
    .tensor = g_strdup (from->about.tensor),
    .key = g_strdup (from->about.key),
    .setting = g_strdup (from->about.setting),
    .expected = g_strdup (from->about.expected),
    .found = g_strdup (from->about.found),
    .needed_bytes = from->about.needed_bytes,
    .free_bytes = from->about.free_bytes,
  };
}

static void
vlm_error_domain_private_clear (VlmErrorPrivate *own)
{
  g_free ((char *) own->about.file);
  g_free ((char *) own->about.tensor);
  g_free ((char *) own->about.key);
  g_free ((char *) own->about.setting);
  g_free ((char *) own->about.expected);
  g_free ((char *) own->about.found);
}

/* The macro's own function registers twice if two threads come first. */
GQuark vlm_error_domain_quark (void);
G_DEFINE_EXTENDED_ERROR (VlmError, vlm_error_domain)

GQuark
vlm_error_quark (void)
{
  static gsize quark;

  if (g_once_init_enter (&quark))
    g_once_init_leave (&quark, vlm_error_domain_quark ());
  return (GQuark) quark;
}

const char *
vlm_text (const char *text)
{
  /* The translation of nothing is the catalog's head. */
  return text && *text ? g_dgettext (GETTEXT_PACKAGE, text) : text;
}

gboolean
vlm_fail (GError **error, VlmError code, const VlmErrorDetails *about,
    const char *format, ...)
{
  GError *made;
  va_list args;

  va_start (args, format);
  made = g_error_new_valist (VLM_ERROR, code, vlm_text (format), args);
  va_end (args);
  if (about)
    vlm_error_domain_private_copy (
        &(VlmErrorPrivate){ *about }, vlm_error_domain_get_private (made));
  g_propagate_error (error, made);
  return FALSE;
}

gboolean
vlm_fail_expected (GError **error, VlmError code, const char *file,
    const char *expected, const char *found)
{
  return vlm_fail (error, code,
      VLM_ABOUT (.file = file, .expected = expected, .found = found),
      "%s: %s was expected, but %s.", file, vlm_text (expected),
      vlm_text (found));
}

const VlmErrorDetails *
vlm_error_details (const GError *error)
{
  return error->domain == VLM_ERROR
             ? &vlm_error_domain_get_private (error)->about
             : NULL;
}
