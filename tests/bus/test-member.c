/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/member.h"
#include "bus/noun.h"
#include "util/error.h"

typedef struct {
    char *name;
    guint16 number;
} ThingSpec;

typedef struct {
    guint8 odd;
    gboolean is_on;
    ThingSpec *spec;
    const char *label;
    guint32 n;
    gint64 since;
    gdouble share;
    GError *error;
} Thing;

static const PropertyRow rows[] = {
    { "On", MEMBER(Thing, is_on) },
    { "Name", SPEC_MEMBER(Thing, name) },
    { "Number", SPEC_MEMBER(Thing, number) },
    { "Label", MEMBER(Thing, label) },
    { "N", MEMBER(Thing, n) },
    { "Since", MEMBER(Thing, since) },
    { "Share", MEMBER(Thing, share) },
    { "Error", MEMBER(Thing, error) },
};

/* All rows of a thing, as text */
static char *
print(const Thing *thing)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GVariant) value = g_variant_ref_sink(noun_get_property(&rows[i], NULL, thing));
        g_autofree char *one = g_variant_print(value, FALSE);

        g_assert_cmpstr(g_variant_get_type_string(value), ==, member_signature(&rows[i].member));
        g_string_append_printf(text, "%s=%s ", rows[i].name, one);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
test_values(void)
{
    char name[] = "a\nb";
    ThingSpec spec = { .name = name, .number = 65535 };
    g_autoptr(GError) error = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_BUSY, "Busy");
    const Thing thing = { .odd = 255,
                          .is_on = TRUE,
                          .spec = &spec,
                          .label = "l",
                          .n = G_MAXUINT32,
                          .since = G_GINT64_CONSTANT(1) << 40,
                          .share = 0.5,
                          .error = error };
    g_autofree char *text = print(&thing);

    g_assert_cmpstr(text, ==,
                    "On=true Name='a\\\\x0ab' Number=65535 Label='l' N=4294967295 "
                    "Since=1099511627776 Share=0.5 Error=('org.lunport1.Error.Busy', 'Busy') ");
}

static void
test_nothing(void)
{
    ThingSpec spec = { 0 };
    const Thing thing = { .spec = &spec };
    g_autofree char *text = print(&thing);

    g_assert_cmpstr(text, ==,
                    "On=false Name='' Number=0 Label='' N=0 Since=0 Share=0.0 Error=('', '') ");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus/member/values-of-each-type", test_values);
    g_test_add_func("/bus/member/nothing-set", test_nothing);
    return g_test_run();
}
