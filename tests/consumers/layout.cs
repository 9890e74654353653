// layout.cs - prints the structs of Native.cs as C assertions, for the header to prove.

using System;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

internal static class Layout
{
    private static string Snake(string name)
    {
        var text = new StringBuilder();
        foreach (char c in name)
        {
            if (char.IsUpper(c) && text.Length > 0) text.Append('_');
            text.Append(char.ToLowerInvariant(c));
        }
        return text.ToString();
    }

    private static void Main()
    {
        Console.WriteLine("#include <openvocab3d.h>");
        Type native = Type.GetType("OpenVocab3D.Native");
        foreach (Type type in native.GetNestedTypes(BindingFlags.NonPublic))
        {
            if (!type.IsValueType) continue;
            string name = "ov3d_" + Snake(type.Name);
            Console.WriteLine("_Static_assert(sizeof({0}) == {1}, \"{0}\");", name, Marshal.SizeOf(type));
            foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.NonPublic))
            {
                if (field.Name.StartsWith("Reserved")) continue;
                Console.WriteLine("_Static_assert(offsetof({0}, {1}) == {2}, \"{0}.{1}\");", name, Snake(field.Name),
                                  Marshal.OffsetOf(type, field.Name));
            }
        }
    }
}
