/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/access-state.h"

static const struct {
    const char *text;
    guint8 state;
} names[] = {
    { "active-optimized", 0x0 }, { "active-non-optimized", 0x1 },
    { "standby", 0x2 },          { "unavailable", 0x3 },
    { "offline", 0xe },          { "transitioning", 0xf },
};

gint
access_state_from_string(const char *text)
{
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_str_equal(names[i].text, text))
            return names[i].state;
    }
    return -1;
}

const char *
access_state_to_string(guint8 state)
{
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (names[i].state == state)
            return names[i].text;
    }
    g_assert_not_reached();
}

static gboolean
parse_one(const char *word, AccessState *ret_state)
{
    g_auto(GStrv) parts = g_strsplit(word, ":", -1);
    AccessState state = { 0 };
    guint64 tag;
    gint code;
    guint i = 2;

    if (g_strv_length(parts) < 2 ||
        !g_ascii_string_to_unsigned(parts[0], 10, 1, G_MAXUINT16, &tag, NULL))
        return FALSE;
    code = access_state_from_string(parts[1]);
    if (code < 0)
        return FALSE;

    state.tag = (guint16)tag;
    state.state = (guint8)code;
    if (parts[i] != NULL && g_str_equal(parts[i], "preferred")) {
        state.preferred = TRUE;
        i++;
    }
    if (parts[i] != NULL && g_str_equal(parts[i], "explicit")) {
        state.is_explicit = TRUE;
        i++;
    }

    *ret_state = state;
    return parts[i] == NULL;
}

GArray *
access_states_parse(const char *text)
{
    g_autoptr(GArray) states = g_array_new(FALSE, FALSE, sizeof(AccessState));
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    guint16 last = 0;

    for (guint i = 0; words[i] != NULL; i++) {
        AccessState state;

        if (!parse_one(words[i], &state) || state.tag <= last)
            return NULL;
        last = state.tag;
        g_array_append_val(states, state);
    }
    return g_steal_pointer(&states);
}

char *
access_states_format(const GArray *states)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < states->len; i++) {
        const AccessState *state = &g_array_index(states, AccessState, i);

        g_string_append_printf(
            text, "%s%u:%s%s%s", i > 0 ? " " : "", state->tag, access_state_to_string(state->state),
            state->preferred ? ":preferred" : "", state->is_explicit ? ":explicit" : "");
    }
    return g_string_free(text, FALSE);
}

void
access_states_set(GArray *states, const AccessState *state)
{
    guint i = 0;

    while (i < states->len && g_array_index(states, AccessState, i).tag < state->tag)
        i++;
    if (i < states->len && g_array_index(states, AccessState, i).tag == state->tag)
        g_array_index(states, AccessState, i) = *state;
    else
        g_array_insert_vals(states, i, state, 1);
}

const AccessState *
access_states_find(const GArray *states, guint16 tag)
{
    for (guint i = 0; i < states->len; i++) {
        const AccessState *state = &g_array_index(states, AccessState, i);

        if (state->tag == tag)
            return state;
    }
    return NULL;
}
