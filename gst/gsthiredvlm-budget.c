/* gsthiredvlm-budget.c - a token budget that follows the load
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The time of a description grows with the tokens it keeps, though not in
 * proportion: the encoder and the answer cost the same. So the budget falls
 * fast when a description takes longer than the interval, and creeps up while
 * there is time to spare.
 */
#include "gst/gsthiredvlm-private.h"

#define SPARE 0.75       /* of the interval: below it the budget may grow */
#define GROWTH 1.15      /* per description */
#define FASTEST_FALL 0.5 /* per description */

gdouble
gst_hired_vlm_budget (GstHiredVlm *self)
{
  gdouble most, least, budget;
  gint mode;

  GST_OBJECT_LOCK (self);
  mode = self->settings.budget_mode;
  most = self->settings.token_budget;
  least = MIN (self->settings.min_budget, most);
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&self->lock);
  if (mode == GST_HIRED_VLM_BUDGET_FIXED || self->budget <= 0)
    self->budget = most;
  budget = CLAMP (self->budget, least, most);
  g_mutex_unlock (&self->lock);
  return budget;
}

void
gst_hired_vlm_budget_learn (GstHiredVlm *self, gdouble budget, guint64 total)
{
  guint64 interval;
  gdouble load;

  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  GST_OBJECT_UNLOCK (self);
  if (interval == 0 || !GST_CLOCK_TIME_IS_VALID (interval))
    return;
  load = (gdouble) total / interval;
  if (load > 1)
    budget *= MAX (1 / load, FASTEST_FALL);
  else if (load < SPARE)
    budget *= GROWTH;
  g_mutex_lock (&self->lock);
  self->budget = budget;
  g_mutex_unlock (&self->lock);
}
