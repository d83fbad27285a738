from setuptools import setup  # all other configuration is in pyproject.toml

setup(cffi_modules=["native/build_ffi.py:ffibuilder"])
