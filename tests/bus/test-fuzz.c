/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Random calls
 *
 * Every method of every interface is called at every kind of object with
 * random arguments of the right signature, and now and then of a wrong one.
 * Each call has to end in an answer or an error. A critical or a warning of
 * GLib ends the test, as does a bus layer that does not answer any more.
 *
 * Half of the strings are words that the interfaces know, so that calls get
 * past the first check. The seed is GLib's (--seed); the build gives one, so
 * that a change which has nothing to do with the bus does not fail by it.
 *
 * Such a word can become the name of an iSNS server. Names are not looked up:
 * that would ask the machine's name servers.
 */

#include <gio/gio.h>
#include <math.h>
#include <string.h>

#include "bus/noun.h"
#include "harness.h"

#define ROUNDS     12
#define DEPTH_MAX  4
#define LENGTH_BIG 70000

#define TARGET_NAME "iqn.2024-01.com.example:a"
#define TARGET      "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3aa"

static const char *const words[] = {
    "ram",       "null",       "disk",      TARGET_NAME,      "iqn.2024-01.com.example:b",
    "open",      "closed",     "refuse",    "abort",          "persist",
    "dry-run",   "size",       "path",      "block-size",     "expected-generation",
    "mode",      "force",      "limit",     "offset",         "portal-groups",
    "enabled",   "parameters", "alias",     "MaxBurstLength", "HeaderDigest",
    "read-only", "serial",     "naa",       "uuid",           "cache",
    "CRC32C",    "target",     "initiator", "/nonexistent/x", "127.0.0.1",
};

static const char *const paths[] = {
    "/",
    "/org/lunport1",
    "/org/lunport1/Manager",
    TARGET,
    TARGET "/luns/0",
    "/org/lunport1/backstores/disk",
    "/org/lunport1/portal_groups/7",
    "/org/lunport1/sessions/1",
    "/a/very/wrong/path",
};

static char *
make_text(void)
{
    static const char *const letters[] = { "a",  "Z",  "0",    "ä", "€", "\xf0\x9f\x92\xbe",
                                           "%s", "\n", "\x01", "/", ".", ":",
                                           "\\", "\"", "<",    " " };
    GString *text;
    gint n;

    if (g_test_rand_bit())
        return g_strdup(words[g_test_rand_int_range(0, G_N_ELEMENTS(words))]);

    text = g_string_new(NULL);
    n = g_test_rand_int_range(0, 30) == 0 ? LENGTH_BIG : g_test_rand_int_range(0, 40);
    for (gint i = 0; i < n; i++)
        g_string_append(text, letters[g_test_rand_int_range(0, G_N_ELEMENTS(letters))]);
    return g_string_free(text, FALSE);
}

static guint64
make_number(void)
{
    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        return 0;
    case 1:
        return G_MAXUINT64;
    case 2:
        return (guint64)g_test_rand_int_range(0, 20);
    case 3:
        return (guint64)1 << g_test_rand_int_range(0, 64);
    default:
        return ((guint64)(guint32)g_test_rand_int() << 32) | (guint32)g_test_rand_int();
    }
}

static const GVariantType *
pick_type(void)
{
    static const char *const types[] = { "s",     "u", "t", "b",  "q",  "i",    "o", "ao",
                                         "a{sv}", "v", "d", "as", "ay", "(sv)", "y", "x" };

    return G_VARIANT_TYPE(types[g_test_rand_int_range(0, G_N_ELEMENTS(types))]);
}

static GVariant *make_value(const GVariantType *type, guint depth);

static GVariant *
make_basic(const GVariantType *type)
{
    guint64 number = make_number();

    switch (g_variant_type_peek_string(type)[0]) {
    case 'b':
        return g_variant_new_boolean(number & 1);
    case 'y':
        return g_variant_new_byte((guint8)number);
    case 'q':
        return g_variant_new_uint16((guint16)number);
    case 'i':
        return g_variant_new_int32((gint32)number);
    case 'u':
        return g_variant_new_uint32((guint32)number);
    case 'x':
        return g_variant_new_int64((gint64)number);
    case 't':
        return g_variant_new_uint64(number);
    case 'd':
        return g_variant_new_double(number & 1 ? (double)NAN : (double)number);
    case 'o':
        return g_variant_new_object_path(paths[g_test_rand_int_range(0, G_N_ELEMENTS(paths))]);
    case 's':
        return g_variant_new_take_string(make_text());
    default:
        g_assert_not_reached();
    }
}

static GVariant *
make_array(const GVariantType *type, guint depth)
{
    const GVariantType *element = g_variant_type_element(type);
    gint n = depth >= DEPTH_MAX                  ? 0
             : g_test_rand_int_range(0, 60) == 0 ? 2000
                                                 : g_test_rand_int_range(0, 4);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, type);
    for (gint i = 0; i < n; i++)
        g_variant_builder_add_value(&builder, make_value(element, n > 10 ? DEPTH_MAX : depth + 1));
    return g_variant_builder_end(&builder);
}

static GVariant *
make_container(const GVariantType *type, guint depth)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, type);
    for (const GVariantType *item = g_variant_type_first(type); item != NULL;
         item = g_variant_type_next(item))
        g_variant_builder_add_value(&builder, make_value(item, depth + 1));
    return g_variant_builder_end(&builder);
}

static GVariant *
make_value(const GVariantType *type, guint depth)
{
    if (g_variant_type_is_array(type))
        return make_array(type, depth);
    if (g_variant_type_is_tuple(type) || g_variant_type_is_dict_entry(type))
        return make_container(type, depth);
    if (g_variant_type_equal(type, G_VARIANT_TYPE_VARIANT))
        return g_variant_new_variant(depth >= DEPTH_MAX ? make_basic(G_VARIANT_TYPE_UINT32)
                                                        : make_value(pick_type(), depth + 1));

    return make_basic(type);
}

static GVariant *
make_arguments(GDBusMethodInfo *method)
{
    GVariantBuilder builder;

    if (g_test_rand_int_range(0, 20) == 0)
        return g_variant_new("(@*)", make_value(pick_type(), 0));

    g_variant_builder_init(&builder, G_VARIANT_TYPE_TUPLE);
    for (GDBusArgInfo **arg = method->in_args; arg != NULL && *arg != NULL; arg++)
        g_variant_builder_add_value(&builder, make_value(G_VARIANT_TYPE((*arg)->signature), 0));
    return g_variant_builder_end(&builder);
}

/* Mostly an object that has the interface */
static const char *
pick_path(const Noun *noun)
{
    static const struct {
        const Noun *noun;
        const char *path;
    } homes[] = {
        { &backstore_noun, "/org/lunport1/backstores/disk" },
        { &lun_noun, TARGET "/luns/0" },
        { &manager_noun, "/org/lunport1/Manager" },
        { &portal_group_noun, "/org/lunport1/portal_groups/7" },
        { &target_noun, TARGET },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(homes); i++) {
        if (homes[i].noun == noun && g_test_rand_int_range(0, 10) != 0)
            return homes[i].path;
    }

    return paths[g_test_rand_int_range(0, G_N_ELEMENTS(paths))];
}

static void
call_at_random(Harness *harness, const Noun *noun, GDBusMethodInfo *method)
{
    const char *interface = strrchr(noun->info->name, '.') + 1;
    g_autofree char *name = g_strdup_printf("%s.%s", interface, method->name);
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        harness_call(harness, pick_path(noun), name, make_arguments(method), &error);

    g_assert_true((reply != NULL) != (error != NULL));
    if (error != NULL)
        g_assert_true(g_dbus_error_is_remote_error(error));
}

/* What the random calls are made at is there again in every round. */
static void
make_objects(Harness *harness)
{
    static const struct {
        const char *path;
        const char *method;
        const char *arguments;
    } calls[] = {
        { "/org/lunport1/Manager", "Manager.CreateBackstore",
          "('null', 'disk', {'size': <uint64 1048576>, 'persist': <false>})" },
        { "/org/lunport1/Manager", "Manager.CreateTarget",
          "('" TARGET_NAME "', {'persist': <false>})" },
        { "/org/lunport1/Manager", "Manager.CreatePortalGroup",
          "(uint16 7, {'persist': <false>})" },
        { TARGET, "Target.AddLun",
          "(objectpath '/org/lunport1/backstores/disk', 0, {'persist': <false>})" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_autoptr(GVariant) arguments = g_variant_parse(NULL, calls[i].arguments, NULL, NULL, NULL);
        g_autoptr(GVariant) reply =
            harness_call(harness, calls[i].path, calls[i].method, arguments, NULL);

        (void)reply; /* NULL when it is still there */
    }
}

/*
 * A resolver that knows no name
 */

typedef GResolver DeafResolver;
typedef GResolverClass DeafResolverClass;

static GType deaf_resolver_get_type(void);
G_DEFINE_TYPE(DeafResolver, deaf_resolver, G_TYPE_RESOLVER)

static GList *
know_nothing(GResolver *resolver, const char *hostname, GCancellable *cancel, GError **error)
{
    g_set_error(error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "%s is not known", hostname);
    return NULL;
}

static void
deaf_resolver_class_init(DeafResolverClass *class)
{
    class->lookup_by_name = know_nothing;
}

static void
deaf_resolver_init(DeafResolver *resolver)
{
}

static void
look_up_no_names(void)
{
    g_autoptr(GResolver) resolver = g_object_new(deaf_resolver_get_type(), NULL);

    g_resolver_set_default(resolver);
}

typedef struct {
    gboolean done;
    GError *error;
} Outcome;

static void
on_outcome(gpointer object, const GError *error, gpointer data)
{
    Outcome *outcome = data;

    outcome->error = error != NULL ? g_error_copy(error) : NULL;
    outcome->done = TRUE;
}

static gboolean
is_done(gpointer data)
{
    return ((Outcome *)data)->done;
}

static void
test_random_calls(void)
{
    static const char *const listen[] = { "127.0.0.1:0", NULL };
    ServiceConfig config = { .n_workers = 1, .listen = listen };
    Harness harness = { 0 };
    Outcome started = { 0 };
    Outcome stopped = { 0 };
    g_autoptr(GError) error = NULL;
    Service *service = service_new(&config, &error);

    g_assert_no_error(error);
    service_start(service, on_outcome, &started);
    wait_until(is_done, &started);
    g_assert_no_error(started.error);
    harness_up(&harness, service);

    for (guint round = 0; round < ROUNDS; round++) {
        make_objects(&harness);
        for (gsize i = 0; nouns[i] != NULL; i++) {
            for (GDBusMethodInfo **method = nouns[i]->info->methods; *method != NULL; method++)
                call_at_random(&harness, nouns[i], *method);
        }
    }

    g_assert_true(harness_has_object(&harness, "/org/lunport1/Manager"));
    harness_down(&harness);
    service_stop(service, on_outcome, &stopped);
    wait_until(is_done, &stopped);
    g_assert_no_error(stopped.error);
    service_free(service);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    look_up_no_names();
    g_test_add_func("/bus/fuzz/random-calls", test_random_calls);
    return g_test_run();
}
